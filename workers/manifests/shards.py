"""Shards of NeMo's tarred data sets: a manifest and an archive of audio for each number.

Nothing here needs more than the base installation: `chorus produce` uses it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

from schemas.manifest import encode_manifest
from workers.manifests.files import manifest_files
from workers.manifests.manifest_file import Line
from workers.manifests.source import folder_of, url_of

#: The number of a shard in the name of its manifest, as NeMo finds it.
#: A number of a shard, as JSON and as spreadsheets have it.
_WHOLE = re.compile(r"\d{1,9}(\.0)?")
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
    if record is None or shard is None:
        return line.data
    path, folder = record.audio_filepath, line.file.folder
    archive = archive_of(shard, folder)
    if archive is None or "://" in path or os.path.isabs(path) or (folder / path).exists():
        return line.data
    return encode_manifest(msgspec.structs.replace(record, audio_filepath=str(archive / path)))


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
