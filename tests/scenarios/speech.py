"""The shipped speech as records, for the scenarios."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

import msgspec

from deploy.demo import SPEECH
from schemas.manifest import ManifestRecord
from workers.manifests.manifest_file import read_manifest


def manifest_records(folder: Path) -> list[ManifestRecord]:
    """Every record of the manifests in `folder`; their paths are relative to it."""
    lines = [line for path in sorted(folder.glob("*.jsonl")) for line in read_manifest(path)]
    return [line.record for line in lines if line.record is not None]


def shipped_records() -> list[ManifestRecord]:
    """Every shipped utterance; paths are relative to `SPEECH`."""
    return manifest_records(SPEECH)


def repeated(records: Sequence[ManifestRecord], count: int) -> list[ManifestRecord]:
    """`count` records: the given ones again and again, each with an id of its own."""
    return [
        msgspec.structs.replace(record, id=f"{record.id}#{number}")
        for number, record in enumerate(islice(cycle(records), count))
    ]


def many_records(count: int) -> list[ManifestRecord]:
    """`count` records over the shipped speech."""
    return repeated(shipped_records(), count)
