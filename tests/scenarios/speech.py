"""The shipped speech as records, for the scenarios."""

from __future__ import annotations

from itertools import cycle, islice
from pathlib import Path

import msgspec

from schemas.manifest import ManifestRecord
from workers.manifest_file import read_manifest

SPEECH = Path(__file__).resolve().parents[2] / "deploy" / "demo" / "speech"


def shipped_records() -> list[ManifestRecord]:
    """Every shipped utterance; paths are relative to `SPEECH`."""
    lines = [line for path in sorted(SPEECH.glob("*.jsonl")) for line in read_manifest(path)]
    return [line.record for line in lines if line.record is not None]


def many_records(count: int) -> list[ManifestRecord]:
    """`count` records over the shipped speech, again and again, each with an id of its own."""
    records = islice(cycle(shipped_records()), count)
    return [
        msgspec.structs.replace(record, id=f"{record.id}#{number}")
        for number, record in enumerate(records)
    ]
