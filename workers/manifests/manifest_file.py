"""Reading a JSON-lines manifest: each line with its record or its error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from schemas.manifest import BYTE_ORDER_MARK, ManifestError, ManifestRecord, decode_manifest
from workers.manifests.source import manifest_text, name_of


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One non-blank line of a manifest: either its record or what is wrong with it.

    Attributes:
        number: counted from 1, blank lines included.
        id: the record's id, or ``name-of-file:number`` where it has none or cannot be read.
        data: the line as it stands, as UTF-8, without its end.
    """

    number: int
    id: str
    data: bytes
    record: ManifestRecord | None = None
    error: ManifestError | None = None

    @property
    def keys(self) -> ManifestRecord | Mapping[str, Any]:
        """What the line says: its record, or the keys of one that is not valid, or nothing."""
        if self.record is not None:
            return self.record
        return self.error.keys if self.error is not None else {}


def read_manifest(path: Path) -> Iterator[Line]:
    """The lines of a manifest, one at a time; blank ones are left out.

    Args:
        path: of a file or a pipe, compressed or not, see `workers.manifests.source`; ``-`` is
            standard input.

    Raises:
        ManifestFileError: the file as a whole is no manifest.
        OSError: it cannot be read.
    """
    name = name_of(path)
    for number, raw in enumerate(manifest_text(path), 1):
        data = raw.removeprefix(BYTE_ORDER_MARK).strip()
        if not data:
            continue
        line_id = f"{name}:{number}"
        try:
            record = decode_manifest(data, default_id=line_id)
        except ManifestError as error:
            yield Line(number=number, id=error.id or line_id, data=data, error=error)
        else:
            yield Line(number=number, id=record.id, data=data, record=record)
