"""Reading a JSON-lines manifest, faults and all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from schemas.manifest import ManifestError, ManifestRecord, decode_manifest


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One non-blank line of a manifest: either its record or what is wrong with it.

    Attributes:
        number: counted from 1, blank lines included.
        id: the record's id, or ``name-of-file:number`` where it has none or cannot be read.
        data: the line as it stands, without its end.
    """

    number: int
    id: str
    data: bytes
    record: ManifestRecord | None = None
    error: ManifestError | None = None


def read_manifest(path: Path) -> Iterator[Line]:
    """The lines of the manifest at `path`, one at a time; blank ones are left out.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            data = raw.strip()
            if not data:
                continue
            line_id = f"{path.name}:{number}"
            try:
                record = decode_manifest(data, default_id=line_id)
            except ManifestError as error:
                yield Line(number=number, id=line_id, data=data, error=error)
            else:
                yield Line(number=number, id=record.id, data=data, record=record)
