"""Making, opening and storing the NeMo models that are trained."""

from __future__ import annotations

import logging
import re
import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from serve_app.engines.errors import EngineError, shown
from serve_app.engines.nemo.allow_list import TOLD_CLASSES
from serve_app.engines.nemo.archive import load_model, open_archive
from serve_app.engines.nemo.configuration import safe_config
from serve_app.engines.nemo.examination import WEIGHTS
from serve_app.engines.nemo.imports import import_nemo
from serve_app.engines.nemo.plain_yaml import check_plain, parse_yaml
from serve_app.system.files import atomic_path
from workers.finetune.vocabulary import train_tokenizer

#: A reference to another key of the same file.
_REFERENCE = re.compile(r"\$\{([A-Za-z0-9_.]+)\}")
#: The class of a model that is trained from scratch.
_FRESH = "nemo.collections.asr.models.EncDecCTCModelBPE"

#: Settings of the preprocessor that the weights depend on, or that what serves a model relies on.
_FIXED = ("_target_", "features", "sample_rate")
#: Values of the preprocessor's `normalize`; "NA" is NeMo's for none.
_NORMALISATIONS = ("per_feature", "all_features", "NA")


def fresh_model(config: Path, texts: Sequence[str], pieces: int, folder: Path) -> Any:
    """An untrained CTC model with a BPE tokenizer of `texts`, whose files go to `folder`.

    Args:
        config: the model's configuration, like `recipe.SMALL`.
        texts: what the tokenizer learns from.
        pieces: size of the vocabulary.
        folder: where the tokenizer's files are written.

    Raises:
        EngineError: the configuration names what a model file may not, see `safe_config`.
        ValueError: the texts are too few for so many pieces.
    """
    cfg = _read_config(config)
    models = _import_models()
    train_tokenizer(texts, pieces, folder)
    cfg["tokenizer"] = {"dir": str(folder), "type": "bpe"}
    try:
        return _ready(models.EncDecCTCModelBPE(cfg=OmegaConf.create(cfg)))
    except Exception as error:  # NeMo has no class of its own for it
        raise EngineError(f"{config}: NeMo cannot build it: {str(error)[:300]}") from error


def _read_config(path: Path) -> dict[str, Any]:
    """A configuration that a person wrote; ``${a.b}`` stands for its own value at that place."""
    try:
        found = {"target": _FRESH} | parse_yaml(path.read_text(encoding="utf-8"))
        config = _with_references(found, found)
        check_plain(config)
        if config["target"] != _FRESH:
            raise EngineError(f"target: a new model is of {_FRESH} only")
        return safe_config(config)
    except (EngineError, UnicodeDecodeError) as error:
        raise EngineError(f"{path}: {error}") from None


def _with_references(value: Any, whole: Mapping[Any, Any]) -> Any:
    """A copy of `value` in which a reference is replaced by what it refers to in `whole`.

    That must be a single value, which refers to nothing: so no text grows.
    """
    if isinstance(value, dict):
        return {key: _with_references(each, whole) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_references(each, whole) for each in value]
    reference = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if reference is None:
        return value
    found: Any = whole
    for key in reference[1].split("."):
        found = found.get(key) if isinstance(found, dict) else None
    if found is None or isinstance(found, dict | list) or "${" in str(found):
        raise EngineError(f"{shown(value)} does not refer to a value of this file")
    return found


def open_model(path: Path) -> Any:
    """The model in a `.nemo` file, on the CPU, in single precision.

    Raises:
        EngineError: the file is refused or cannot be loaded, see `open_archive`; or it is of a
            class that is not trained here.
    """
    with ExitStack() as stack:
        archive = stack.enter_context(open_archive(path))
        if archive.model_class in TOLD_CLASSES:
            raise EngineError(
                f"{path}: a model of class {archive.model_class}, which is told the language of "
                "each clip, can be served but not fine-tuned; train it with NeMo's own scripts"
            )
        _import_models()
        model = _ready(load_model(archive))
        # the files of its tokenizer are read once more when it is saved; its weights are not
        (archive.folder / WEIGHTS).unlink()
        weakref.finalize(model, stack.pop_all().close)
    return model


def preprocessor_config(model: Any, settings: Mapping[str, Any]) -> DictConfig:
    """The configuration of the model's preprocessor with other `settings`, by NeMo's names.

    Raises:
        ValueError: a setting or its value does not exist, or the weights depend on it.
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
    """Replace the features that `model` is given; it has to be trained on them."""
    model.preprocessor = model.from_config_dict(cfg)
    with open_dict(model.cfg):
        model.cfg.preprocessor = cfg
    _ready(model)


def save_model(model: Any, path: Path, *, half_precision: bool = False) -> None:
    """Write `model` to `path`, completely or not at all.

    Args:
        model: a NeMo model.
        path: of the `.nemo` file.
        half_precision: store the network's weights with 16 bits: half the size. For the demo
            models it moved the WER by about a tenth of a point. NeMo restores such a file to
            single precision. `model` keeps the rounded weights.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # not the preprocessor: the mel filters stay exact
    parts = [part for name, part in model.named_children() if name != "preprocessor"]
    for part in parts if half_precision else []:
        part.half()
    with atomic_path(path) as unfinished:
        model.save_to(str(unfinished))
    for part in parts if half_precision else []:
        part.float()


def _ready(model: Any) -> Any:
    """`model` without dither, logged predictions and waiting for other processes."""
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
