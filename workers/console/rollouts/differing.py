"""The utterances behind the blocks on which a candidate and what serves differ most.

Evidence knows blocks by digests alone. Which utterances they are is found among the transcripts
that are in the topic still, by the same digest.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from schemas.manifest import ManifestRecord
from schemas.settings import RolloutSettings
from schemas.transcript import Transcript, decode_transcript
from serve_app.rollout.arms import block_of
from serve_app.rollout.evidence import Block, Evidence
from workers.console.place import Place
from workers.console.recent import recent
from workers.console.topics import Topics

#: Blocks that are shown, and utterances of each.
_BLOCKS, _UTTERANCES = 20, 10


@dataclass(frozen=True)
class Differing:
    """A block on which the two differ.

    Attributes:
        block: its sums.
        utterances: of it, by place, with their ids; empty where the topic has none any more.
    """

    block: Block
    utterances: list[tuple[Place, str]] = field(default_factory=list)


def most_differing(evidence: Evidence) -> dict[str, Differing]:
    """The blocks that differ most, by digest: those with more errors of the candidate's first."""
    found = [item for item in evidence.blocks.items() if _weight(item[1]) > (0, 0)]
    found.sort(key=lambda item: _weight(item[1]), reverse=True)
    return {digest: Differing(block) for digest, block in found[:_BLOCKS]}


def _weight(block: Block) -> tuple[int, int]:
    return abs(block.candidate - block.incumbent), block.differing


def find_utterances(
    found: dict[str, Differing], topics: Topics, topic: str, rules: RolloutSettings, last: int
) -> int:
    """Add the utterances of blocks, from the last transcripts of a topic. Blocks for seconds.

    Args:
        found: the blocks, by digest.
        topics: reads Kafka.
        topic: of the transcripts.
        rules: of the rollout.
        last: how many are looked at.

    Returns:
        How many transcripts were looked at.

    Raises:
        Exception: as `Topics.follow`.
    """
    seen = 0
    for message in recent(topics, topic, last):
        try:
            transcript = decode_transcript(message.value or b"")
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        seen += 1
        differing = found.get(_block(transcript, rules))
        if differing is not None and len(differing.utterances) < _UTTERANCES:
            place = Place(message.topic, message.partition, message.offset)
            differing.utterances.append((place, transcript.id))
    return seen


def _block(transcript: Transcript, rules: RolloutSettings) -> str:
    record = ManifestRecord(
        id=transcript.id, audio_filepath=transcript.audio_filepath, extra=transcript.extra
    )
    return block_of(record, rules.block_by)
