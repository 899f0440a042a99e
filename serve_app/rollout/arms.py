"""Which speech a candidate gets, and for what: decided by the speech, the same on every machine."""

from __future__ import annotations

from enum import StrEnum
from hashlib import blake2b

from schemas.manifest import ManifestRecord
from schemas.rollout import RolloutPlan
from schemas.settings import BlockBy

_BYTES = 8


class Arm(StrEnum):
    """What a rollout does with a record.

    - ``none``: nothing.
    - ``control``: the incumbent transcribes it, and is observed.
    - ``shadow``: both do, and the incumbent's text is published.
    - ``canary``: the candidate does, and its text is published.
    """

    NONE = "none"
    CONTROL = "control"
    SHADOW = "shadow"
    CANARY = "canary"


def block_of(record: ManifestRecord, block_by: BlockBy) -> str:
    """A digest of the block that a record belongs to: speech whose errors depend on one another.

    Args:
        record: the record.
        block_by: what a block is. A record without a speaker is one of its own.
    """
    name = f"record {record.id}"
    if block_by == "recording":
        name = f"recording {record.audio_filepath}"
    elif block_by == "speaker" and (speaker := record.extra.get("speaker")) is not None:
        name = f"speaker {speaker}"
    return digest(name).hex()


def arm_of(plan: RolloutPlan, block: str) -> Arm:
    """The arm of a block; it stays the same for the whole rollout.

    The incumbent is observed on as much speech as the candidate, also without a shadow.

    Args:
        plan: of the rollout.
        block: from `block_of`.
    """
    rules = plan.rules
    place = int.from_bytes(digest(f"{plan.id} {block}")) / (1 << 8 * _BYTES)
    if place < rules.canary:
        return Arm.CANARY
    if place < rules.canary + rules.shadow:
        return Arm.SHADOW
    if place < 2 * rules.canary:
        return Arm.CONTROL
    return Arm.NONE


def digest(text: str) -> bytes:
    """Eight bytes that stand for a text, which they do not say."""
    return blake2b(text.encode(errors="surrogatepass"), digest_size=_BYTES).digest()
