"""Versions of models as folders: ``FOLDER/NAME/VERSION`` with a model and its card."""

from __future__ import annotations

from pathlib import Path

import msgspec

from schemas.model_card import CARD_FILE, MODEL_FILE, ModelCard

MODEL = MODEL_FILE
CARD = CARD_FILE
#: Ends the name of a folder in which a version is trained.
UNFINISHED = ".unfinished"


def version_number(folder: Path) -> int | None:
    """The number of the version that `folder` holds; None for any other folder."""
    return int(folder.name) if folder.name.isdecimal() else None


def is_unfinished(folder: Path) -> bool:
    """Whether `folder` is one in which a version is trained, or was before an interruption."""
    return folder.name.endswith(UNFINISHED)


def read_card(path: Path) -> ModelCard:
    """The card in a file.

    Raises:
        OSError: the file cannot be read.
        msgspec.DecodeError: it is not a card.
    """
    return msgspec.json.decode(path.read_bytes(), type=ModelCard)
