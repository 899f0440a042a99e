"""Making, opening and storing NeMo CTC models."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nemo.collections.asr.models import EncDecCTCModelBPE
from omegaconf import OmegaConf

from deploy.demo.train.tokenizer import train_tokenizer

_FRESH = Path(__file__).with_name("model.yaml")


def fresh_model(texts: Iterable[str], pieces: int, folder: Path) -> EncDecCTCModelBPE:
    """An untrained model of `model.yaml` with a BPE tokenizer of `texts`, written to `folder`."""
    train_tokenizer(texts, pieces, folder)
    config = OmegaConf.load(_FRESH)
    config.tokenizer.dir = str(folder)
    return EncDecCTCModelBPE(cfg=config)


def open_model(path: Path) -> EncDecCTCModelBPE:
    """The model in a `.nemo` file, on the CPU, in single precision."""
    return EncDecCTCModelBPE.restore_from(str(path), map_location="cpu")


def save_model(model: EncDecCTCModelBPE, path: Path) -> None:
    """Write `model` to `path` at once or not at all, with weights in half precision.

    Half precision halves the file and moves the WER by about a tenth of a point; NeMo restores
    such a file to single precision. `model` keeps the rounded weights.
    """
    unfinished = path.with_name(f".{path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    for part in (model.encoder, model.decoder):  # the mel filters stay exact
        part.half()
    model.save_to(str(unfinished))
    for part in (model.encoder, model.decoder):
        part.float()
    unfinished.rename(path)
