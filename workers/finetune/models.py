"""Making, opening and storing the NeMo models that are trained."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from serve_app.engines.configuration import check_plain, safe_config
from serve_app.engines.errors import EngineError
from serve_app.engines.nemo_archive import WEIGHTS, load_model, open_archive
from serve_app.engines.nemo_import import import_nemo
from workers.finetune.vocabulary import train_tokenizer

#: A FastConformer CTC model of 1.7 M parameters that learns on a CPU.
SMALL = Path(__file__).with_name("small.yaml")

_FRESH = "nemo.collections.asr.models.EncDecCTCModelBPE"

#: Settings of the preprocessor that the weights depend on, or that what serves a model relies on.
_FIXED = ("_target_", "features", "sample_rate")
#: NA is none.
_NORMALISATIONS = ("per_feature", "all_features", "NA")


def fresh_model(config: Path, texts: Sequence[str], pieces: int, folder: Path) -> Any:
    """An untrained CTC model with a BPE tokenizer of `texts`, whose files go to `folder`.

    Args:
        config: the model's configuration, like `SMALL`.

    Raises:
        EngineError: the configuration names what a model file may not, see `safe_config`.
        ValueError: the texts are too few for so many pieces.
    """
    cfg = _read_config(config)
    models = _import_models()
    train_tokenizer(texts, pieces, folder)
    cfg["tokenizer"] = {"dir": str(folder), "type": "bpe"}
    return _ready(models.EncDecCTCModelBPE(cfg=OmegaConf.create(cfg)))


def _read_config(path: Path) -> dict[str, Any]:
    """A configuration that a person wrote: it may refer to its own keys, and to nothing else."""
    try:
        found = OmegaConf.load(path)
        for text in _texts(OmegaConf.to_container(found)):
            if "${" in text and ":" in text:
                raise EngineError("contains an interpolation of something outside")
        config = OmegaConf.to_container(found, resolve=True)
        if not isinstance(config, dict):
            raise EngineError("is not a mapping")
        config = {"target": _FRESH} | config
        check_plain(config)
        if config["target"] != _FRESH:
            raise EngineError(f"target: a model is made anew as {_FRESH} only")
        return safe_config(config)
    except (EngineError, OmegaConfBaseException, YAMLError) as error:
        raise EngineError(f"{path}: {error}") from None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _texts(key)
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def open_model(path: Path) -> Any:
    """The model in a `.nemo` file, on the CPU, in single precision.

    Raises:
        EngineError: the file is refused or cannot be loaded, see `open_archive`.
    """
    with ExitStack() as stack:
        archive = stack.enter_context(open_archive(path))
        _import_models()
        model = _ready(load_model(archive))
        # the files of its tokenizer are read once more when it is saved; its weights are not
        (archive.folder / WEIGHTS).unlink()
        weakref.finalize(model, stack.pop_all().close)
    return model


def preprocessor_config(model: Any, settings: Mapping[str, Any]) -> DictConfig:
    """The configuration of the model's preprocessor with other `settings`, by NeMo's names.

    Raises:
        ValueError: there is no such setting, it cannot be that, or the weights depend on it.
    """
    for key, value in settings.items():
        if key in _FIXED:
            raise ValueError(f"preprocessor: {key} must stay as the base has it")
        if key == "normalize" and value not in _NORMALISATIONS:  # NeMo would not do any
            known = ", ".join(_NORMALISATIONS)
            raise ValueError(f"preprocessor: normalize={value} is none of {known}")
    cfg = OmegaConf.create({**OmegaConf.to_container(model.cfg.preprocessor), **settings})
    try:
        model.from_config_dict(cfg)
    except Exception as error:  # NeMo has no class of its own for it
        raise ValueError(f"preprocessor: {error.__cause__ or error}") from error
    return cfg


def change_preprocessor(model: Any, cfg: DictConfig) -> None:
    """Let `model` hear the features of `cfg`; it has to learn what they mean."""
    model.preprocessor = model.from_config_dict(cfg)
    with open_dict(model.cfg):
        model.cfg.preprocessor = cfg
    _ready(model)


def save_model(model: Any, path: Path, *, half_precision: bool = False) -> None:
    """Write `model` to `path` at once or not at all.

    Args:
        half_precision: store the network's weights with 16 bits: half the size. For the demo
            models it moved the WER by about a tenth of a point. NeMo restores such a file to
            single precision. `model` keeps the rounded weights.
    """
    unfinished = path.with_name(f".{path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    # not the preprocessor: the mel filters stay exact
    parts = [part for name, part in model.named_children() if name != "preprocessor"]
    for part in parts if half_precision else []:
        part.half()
    model.save_to(str(unfinished))
    for part in parts if half_precision else []:
        part.float()
    unfinished.rename(path)


def _ready(model: Any) -> Any:
    """`model` such that it hears as it will when it serves, says nothing, and waits for nobody."""
    with open_dict(model.cfg):
        model.cfg.log_prediction = False
    for name in ("wer", "ctc_wer"):
        if hasattr(model, name):
            getattr(model, name).log_prediction = False
    model.preprocessor.featurizer.dither = 0.0
    # else each forward waits for those of all other processes, and only the first one validates
    model.encoder.sync_max_audio_length = False
    return model


def _import_models() -> Any:
    """All of NeMo's models: training uses what the engine's quick import leaves out."""
    logging.getLogger("nv_one_logger").setLevel(logging.ERROR)
    from nemo.collections.asr import models

    import_nemo()  # it is there already; quiet from now on
    for chatty in ("lightning.pytorch", "lightning.fabric", "pytorch_lightning"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    return models
