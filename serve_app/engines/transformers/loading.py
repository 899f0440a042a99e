"""Load a checked folder with Transformers: no hub, no code but the library's own, no pickles."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers

from serve_app.engines.errors import EngineError, cause_of, shown
from serve_app.engines.transformers.folder import CONFIG, GENERATION, CheckedFolder

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
#: Parameters of training that a file of weights may lack.
_TRAINING = ("masked_spec_embed",)
#: Settings of the feature extractors that are taken over, and the largest value of each.
_FEATURES = {
    "feature_size": 512,
    "sampling_rate": 48_000,
    "hop_length": 4096,
    "chunk_length": 60,
    "n_fft": 8192,
    "win_length": 8192,
    "preemphasis": 1,
    "do_normalize": 1,
}
#: Settings of a model that say how it is computed, which is not for the folder to say.
_NOT_KEPT = frozenset(
    {
        "architectures",
        "dtype",
        "output_attentions",
        "output_hidden_states",
        "return_dict",
        "torch_dtype",
        "transformers_version",
    }
)

# it advises what to install and to log in to
logging.getLogger("transformers").setLevel(logging.ERROR)
transformers.utils.logging.disable_progress_bar()


class _Classes(NamedTuple):
    config: Any
    model: Any
    tokenizer: Any
    features: Any


_CLASSES = {
    "whisper": _Classes(
        transformers.WhisperConfig,
        transformers.WhisperForConditionalGeneration,
        transformers.WhisperTokenizer,
        transformers.WhisperFeatureExtractor,
    ),
    "wav2vec2": _Classes(
        transformers.Wav2Vec2Config,
        transformers.Wav2Vec2ForCTC,
        transformers.Wav2Vec2CTCTokenizer,
        transformers.Wav2Vec2FeatureExtractor,
    ),
    "parakeet_ctc": _Classes(
        transformers.ParakeetCTCConfig,
        transformers.ParakeetForCTC,
        transformers.ParakeetTokenizer,
        transformers.ParakeetFeatureExtractor,
    ),
    "parakeet_tdt": _Classes(
        transformers.ParakeetTDTConfig,
        transformers.ParakeetForTDT,
        transformers.ParakeetTokenizer,
        transformers.ParakeetFeatureExtractor,
    ),
}


class Loaded(NamedTuple):
    """A model in memory.

    Attributes:
        model: of Transformers, frozen, in evaluation mode.
        tokenizer: of Transformers.
        features: Transformers' feature extractor, which computes in single precision.
        generation: the content of `generation_config.json`, unchecked.
        device: "cpu" or "cuda".
        dtype: what the model computes in.
    """

    model: Any
    tokenizer: Any
    features: Any
    generation: Mapping[str, Any]
    device: str
    dtype: torch.dtype


def load(folder: CheckedFolder, *, device: str, dtype: str) -> Loaded:
    """Load a model. Blocks for seconds.

    The class of each part follows from the family, never from what the folder names.

    Args:
        folder: as `check_folder` returns it.
        device: "cpu" or "cuda".
        dtype: as in `ModelSettings`.

    Raises:
        EngineError: the settings are none of this family, or the weights do not fit them.
    """
    if dtype == "auto":
        dtype = "bfloat16" if device == "cuda" else "float32"
    classes = _CLASSES[folder.family]
    with _named(folder.path, CONFIG):
        config = classes.config(**_kept(folder.config))
    _check_parameters(folder, classes.model, config)
    with _named(folder.path, "the feature extractor"):
        features = classes.features(**_feature_settings(folder))
    with _staged(folder) as staged:
        with _named(folder.path, "the tokenizer"):
            tokenizer = classes.tokenizer.from_pretrained(staged, local_files_only=True)
        with _named(folder.path, "the weights"):
            model, report = classes.model.from_pretrained(
                staged,
                config=config,
                dtype=_DTYPES[dtype],
                # the settings could name another one, which is then downloaded
                attn_implementation="sdpa",
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
    _check_report(folder.path, report)
    model.to(device).eval().requires_grad_(requires_grad=False)
    return Loaded(model, tokenizer, features, folder.generation, device, _DTYPES[dtype])


@contextmanager
def _named(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except EngineError:
        raise
    except Exception as error:  # the library has no class of its own for damaged files
        raise EngineError(f"{path}: {what} cannot be loaded: {cause_of(error)}") from error


def _kept(config: Mapping[str, Any]) -> dict[str, Any]:
    """A model's settings without those that choose implementations, number formats or outputs."""
    return {
        key: _kept(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if not key.startswith(("_", "attn_", "experts_")) and key not in _NOT_KEPT
    }


def _feature_settings(folder: CheckedFolder) -> dict[str, Any]:
    settings = {key: value for key, value in folder.features.items() if key in _FEATURES}
    for key, value in settings.items():
        if not isinstance(value, int | float) or not 0 <= value <= _FEATURES[key]:
            raise EngineError(
                f"{folder.path}: the feature extractor's `{key}` is {shown(value)}, "
                f"not 0 to {_FEATURES[key]}"
            )
    return settings


def _check_parameters(folder: CheckedFolder, model_class: Any, config: Any) -> None:
    """Compare the size of the model with that of its weights, before memory is taken for it."""
    with _named(folder.path, CONFIG), torch.device("meta"):
        skeleton = model_class(config)
    tied = set(model_class._tied_weights_keys or ())
    wanted = sum(
        each.numel()
        for name, each in skeleton.named_parameters()
        if name not in tied and not name.endswith(_TRAINING)
    )
    if wanted > folder.parameters:
        raise EngineError(
            f"{folder.path}: {CONFIG} describes a model of {wanted} parameters, "
            f"but the weights have {folder.parameters}"
        )


def _check_report(path: Path, report: Mapping[str, Any]) -> None:
    missing = sorted(each for each in report["missing_keys"] if not each.endswith(_TRAINING))
    if missing:
        raise EngineError(f"{path}: the weights lack {shown(missing[0])}")
    wrong = sorted(str(each) for each in report["mismatched_keys"])
    if wrong:
        raise EngineError(f"{path}: a tensor has another shape than {CONFIG} says: {wrong[0]}")


@contextmanager
def _staged(folder: CheckedFolder) -> Iterator[Path]:
    """A folder with the checked files only, since the library reads what else it finds."""
    with tempfile.TemporaryDirectory(prefix="chorus-model-") as place:
        for name, file in folder.files.items():
            if name != GENERATION:  # is read as data: it can name code as well
                (Path(place) / name).symlink_to(file.absolute())
        yield Path(place)
