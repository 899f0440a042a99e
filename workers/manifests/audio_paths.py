"""Where the audio of a manifest's record is: the same for every command.

A relative path is looked up in the folder of the manifest first; then, for a record of a shard, in
the shard's archive, ``audio_3.tar`` there or in the folder above, as NeMo's tarred data sets have
it; then under each of the folders `audio.roots` of the settings, where a command has settings. The
first that exists is taken. (A message on a topic and a request over HTTP have no folder: there,
only the roots count.)
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from schemas.settings.audio import is_url
from serve_app.audio import AudioError
from serve_app.audio.archives import split_archive
from serve_app.audio.sources import spellings, split_scheme
from workers.manifests.manifest_file import Line
from workers.manifests.shards import archive_of, shard_of


def audio_of(line: Line, roots: Sequence[str] = ()) -> str:
    """The path of the audio of a line; empty if the line is no record. See `locate`."""
    if line.record is None:
        return ""
    return locate(line.record.audio_filepath, line.file.folder, roots, shard=shard_of(line))


def locate(audio: str, folder: Path, roots: Sequence[str] = (), *, shard: int | None = None) -> str:
    """The path of a record's audio, absolute where there is something at it.

    Args:
        audio: `audio_filepath` of the record: a path or a URL.
        folder: of the manifest.
        roots: looked up last, in order.
        shard: number of the shard that the record is of.

    Returns:
        `audio` itself where nothing is found before the first root that is a URL, or where it is a
        URL of another scheme than ``file`` itself: whoever reads it looks further.
    """
    try:
        scheme, path = split_scheme(audio)
    except AudioError:
        return audio
    if scheme != "file":
        return audio
    places = [str(folder)]
    archive = archive_of(shard, folder) if shard is not None else None
    if archive is not None and not os.path.isabs(path):
        places.append(str(archive))
    for place in (*places, *roots):
        if is_url(place):  # whoever reads it looks there first, then under the other roots
            return audio
        for spelling in spellings(path):
            candidate = os.path.join(place, spelling)  # an absolute path stays as it is
            if _is_something(candidate):
                return candidate
    return audio


def _is_something(path: str) -> bool:
    """Whether there is a file, or an archive that the path names a file of."""
    try:
        os.stat(path)
    except NotADirectoryError:
        inside = split_archive(path)
        return inside is not None and os.path.isfile(inside[0])
    except (FileNotFoundError, ValueError):
        return False
    except OSError:  # it is there and cannot be read: not a reason to take another file
        return True
    return True
