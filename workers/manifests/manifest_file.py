"""Reading a JSON-lines manifest: each line with its record or its error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from schemas.manifest import BYTE_ORDER_MARK, ManifestError, ManifestRecord, decode_manifest
from workers.manifests.files import called, manifest_files
from workers.manifests.source import folder_of, manifest_text


class ManifestFile(NamedTuple):
    """One file of a manifest.

    Attributes:
        name: what it is called in ids and messages.
        folder: where relative paths of audio are looked up first.
    """

    name: str
    folder: Path


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One non-blank line of a manifest: either its record or what is wrong with it.

    Attributes:
        number: counted from 1 in its file, blank lines included.
        id: the record's id, or ``name-of-file:number`` where it has none or cannot be read.
        data: the line as it stands, as UTF-8, without its end.
        file: that it is in.
    """

    number: int
    id: str
    data: bytes
    file: ManifestFile
    record: ManifestRecord | None = None
    error: ManifestError | None = None

    @property
    def keys(self) -> ManifestRecord | Mapping[str, Any]:
        """What the line says: its record, or the keys of one that is not valid, or nothing."""
        if self.record is not None:
            return self.record
        return self.error.keys if self.error is not None else {}


def read_manifest(manifest: Path) -> Iterator[Line]:
    """The lines of a manifest, one at a time; blank ones are left out.

    Args:
        manifest: a file or a pipe, compressed or not, see `workers.manifests.source`; ``-`` is
            standard input. Or several, see `workers.manifests.files`.

    Raises:
        ManifestFileError: the file as a whole is no manifest.
        OSError: it cannot be read.
    """
    files = manifest_files(manifest)
    for path, name in zip(files, called(files), strict=True):
        file = ManifestFile(name, folder_of(path))
        for number, raw in enumerate(manifest_text(path), 1):
            data = raw.removeprefix(BYTE_ORDER_MARK).strip()
            if data:
                yield read_line(data, file, number)


def read_line(data: bytes, file: ManifestFile, number: int = 1) -> Line:
    """Decode a line, without its end."""
    line_id = f"{file.name}:{number}"
    try:
        record = decode_manifest(data, default_id=line_id)
    except ManifestError as error:
        line_id = error.id or line_id
        return Line(number=number, id=line_id, data=data, file=file, error=error)
    return Line(number=number, id=record.id, data=data, file=file, record=record)
