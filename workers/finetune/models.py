"""Making, opening and storing the NeMo models that are trained."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from serve_app.engines.archive import check_archive
from serve_app.engines.nemo_import import import_nemo
from workers.finetune.vocabulary import train_tokenizer

#: A FastConformer CTC model of 1.7 M parameters that learns on a CPU.
SMALL = Path(__file__).with_name("small.yaml")

#: Settings of the preprocessor that the weights depend on, or that what serves a model relies on.
_FIXED = ("_target_", "features", "sample_rate")
#: NA is none.
_NORMALISATIONS = ("per_feature", "all_features", "NA")


def fresh_model(config: Path, texts: Sequence[str], pieces: int, folder: Path) -> Any:
    """An untrained CTC model with a BPE tokenizer of `texts`, whose files go to `folder`.

    Args:
        config: the model's configuration, like `SMALL`.

    Raises:
        ValueError: the texts are too few for so many pieces.
    """
    models = _import_models()
    train_tokenizer(texts, pieces, folder)
    cfg = OmegaConf.load(config)
    cfg.tokenizer.dir = str(folder)
    return _ready(models.EncDecCTCModelBPE(cfg=cfg))


def open_model(path: Path) -> Any:
    """The model in a `.nemo` file, on the CPU, in single precision.

    Raises:
        EngineError: the file is refused or cannot be loaded, see `check_archive`.
    """
    archive = check_archive(path)
    models = _import_models()
    model_class = getattr(models, archive.model_class)
    return _ready(model_class.restore_from(str(path), map_location="cpu"))


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
