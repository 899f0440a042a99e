"""Shards of NeMo's tarred data sets: a manifest and an archive of audio for each number.

Nothing here needs more than the base installation: `chorus produce` uses it.
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

import msgspec

from schemas.manifest import encode_manifest
from workers.manifests.files import manifest_files
from workers.manifests.manifest_file import Line
from workers.manifests.source import folder_of, url_of

#: A number of a shard, as JSON and as spreadsheets have it.
_WHOLE = re.compile(r"\d{1,9}(\.0)?")
#: The number of a shard in the name of its manifest, as NeMo finds it.
_NUMBER = re.compile(r"manifest.*_(\d+)")


def shard_of(line: Line) -> int | None:
    """The number of the shard that a line is of, by its key `shard_id` or the name of its file."""
    shard = line.record.extra.get("shard_id") if line.record is not None else None
    if isinstance(shard, int | float | str) and _WHOLE.fullmatch(str(shard)):
        return int(float(shard))
    found = _NUMBER.match(line.file.name.rpartition("/")[2])
    return int(found[1]) if found else None


def archive_of(shard: int, folder: Path) -> Path | None:
    """The archive with the audio of a shard: in the folder of its manifest, or in that above."""
    for place in (folder, folder.parent):
        archive = place / f"audio_{shard}.tar"
        if archive.is_file():
            return archive
    return None


def with_archive(line: Line) -> bytes:
    """The line as it stands; of a record of a tarred data set, with the archive in its path.

    A topic has no folder, where the archive would be looked up.
    """
    record, shard = line.record, shard_of(line)
    if record is None or shard is None or not _is_inside(line):
        return line.data
    archive = archive_of(shard, line.file.folder)
    if archive is None:
        return line.data
    path = str(archive / record.audio_filepath)
    return encode_manifest(msgspec.structs.replace(record, audio_filepath=path))


def missing_archive(line: Line) -> str | None:
    """The name of the archive that a record of a tarred data set lacks; None if it lacks none.

    The name of a file alone makes no tarred data set: only the key `shard_id` does, or archives
    beside it.
    """
    shard, folder = shard_of(line), line.file.folder
    if line.record is None or shard is None or not _is_inside(line):
        return None
    is_tarred = "shard_id" in line.record.extra or _has_archives(folder)
    return f"audio_{shard}.tar" if is_tarred and archive_of(shard, folder) is None else None


def _is_inside(line: Line) -> bool:
    """Whether the audio of a record of a shard can only be in an archive."""
    if line.record is None:
        return False
    path = line.record.audio_filepath
    is_whole = "://" in path or ".tar/" in path or os.path.isabs(path)
    return not (is_whole or (line.file.folder / path).exists())


@cache
def _has_archives(folder: Path) -> bool:
    return any(any(place.glob("audio_*.tar")) for place in (folder, folder.parent))


def audio_folders(manifest: Path) -> list[str]:
    """The folders in which the relative paths of a manifest are looked up first; or URLs of them.

    Raises:
        OSError: a file of the manifest is not there.
    """
    folders: list[str] = []
    for file in manifest_files(manifest):
        folder = folder_of(file)
        if (url := url_of(file)) is not None:
            folders.append(url.rpartition("/")[0])
        elif any(folder.parent.glob("audio_*.tar")):
            folders += [str(folder), str(folder.parent)]
        else:
            folders.append(str(folder))
    return list(dict.fromkeys(folders))
