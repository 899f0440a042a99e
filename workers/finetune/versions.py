"""Model versions on disk: ``FOLDER/NAME/VERSION`` with `model.nemo` and `card.json`, never changed.

A version appears whole, by a rename. Until then its training lives in ``VERSION.unfinished``
beside it.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec

from schemas.model_card import ModelCard

MODEL = "model.nemo"
CARD = "card.json"
_UNFINISHED = ".unfinished"


class RunError(ValueError):
    """A folder holds the unfinished training of something else."""


def unfinished_version(folder: Path, name: str) -> Path:
    """Where the next version of `name` is trained: begun already, or still to be made."""
    numbers = [int(path.name) for path in folder.joinpath(name).glob("*") if path.name.isdigit()]
    return folder / name / f"{max(numbers, default=0) + 1}{_UNFINISHED}"


def claim(folder: Path, run: dict[str, Any]) -> None:
    """Write down whose run `folder` holds, so that another does not go on from its checkpoint.

    Raises:
        RunError: it holds another one's.
    """
    file = folder / "run.json"
    if file.exists():
        if json.loads(file.read_text()) != run:
            raise RunError(
                f"{folder} holds an unfinished training with other data or settings; finish it "
                "by its own command, or remove the folder"
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".partial")
    unfinished.write_text(json.dumps(run))
    unfinished.rename(file)


def version_of(unfinished: Path) -> str:
    """The version that `unfinished` will be."""
    return unfinished.name.removesuffix(_UNFINISHED)


def finish_version(unfinished: Path, card: ModelCard, keep: tuple[str, ...] = ()) -> Path:
    """Make a version of `unfinished`, which holds the model, and return its folder.

    Everything in it but the model, the card and the files of `keep` is removed.
    """
    indented = msgspec.json.format(msgspec.json.encode(card), indent=2)
    (unfinished / CARD).write_bytes(indented + b"\n")
    for path in unfinished.iterdir():
        if path.name in (MODEL, CARD, *keep):
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return unfinished.rename(unfinished.with_name(version_of(unfinished)))


def read_card(path: Path) -> ModelCard:
    """The card in a file.

    Raises:
        OSError: the file cannot be read.
        msgspec.DecodeError: it is no card.
    """
    return msgspec.json.decode(path.read_bytes(), type=ModelCard)
