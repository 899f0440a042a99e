"""What was served last on this machine, to start from while the registry is out of reach.

A note per registry and reference, in the folder of the copies: which version that was, with its
card.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import msgspec

from schemas.model_card import ModelCard
from schemas.model_reference import ModelReference
from serve_app.registry.provenance import now
from serve_app.registry.registry import pretty
from serve_app.system.files import atomic_write


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """A version that was served.

    Attributes:
        registry: URL of its registry.
        reference: by which it was found there.
        place: what the reference named, see `Named`.
        card: of the version.
        since: when it began to serve, UTC, ISO 8601.
    """

    registry: str
    reference: str
    place: str
    card: ModelCard
    since: str


def remember(
    cache: Path, registry: str, reference: ModelReference, place: str, card: ModelCard
) -> None:
    """Note that a version serves from now on, in place of an earlier note of the reference.

    Raises:
        OSError: the note cannot be written.
    """
    served = Served(
        registry=registry, reference=str(reference), place=place, card=card, since=now()
    )
    path = _path(cache, registry, reference)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, pretty(served))


def recall(cache: Path, registry: str, reference: ModelReference) -> Served | None:
    """The version that was served last by a reference; None if none was, or nobody can tell."""
    try:
        data = _path(cache, registry, reference).read_bytes()
        return msgspec.json.decode(data, type=Served)
    except (OSError, msgspec.DecodeError):
        return None


def _path(cache: Path, registry: str, reference: ModelReference) -> Path:
    digest = sha256(f"{registry}\n{reference}".encode()).hexdigest()
    return cache / reference.name / f"served-{digest[:16]}.json"
