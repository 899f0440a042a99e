"""Where the audio of a manifest's record is: the same for every command.

A relative path is looked up in the folder of the manifest first, then under each of the folders
`audio.roots` of the settings, where a command has settings. The first that exists is taken. (A
message on a topic and a request over HTTP have no folder: there, only the roots count.)
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from serve_app.audio import AudioError
from serve_app.audio.sources import split_scheme


def locate(audio: str, folder: Path, roots: Sequence[str] = ()) -> str:
    """The path of a record's audio, absolute where there is something at it.

    Args:
        audio: `audio_filepath` of the record: a path or a URL.
        folder: of the manifest.
        roots: looked up after `folder`, in order.

    Returns:
        `audio` itself where nothing is found, or where it is a URL of another scheme than ``file``:
        whoever reads it says what is wrong.
    """
    try:
        scheme, path = split_scheme(audio)
    except AudioError:
        return audio
    if scheme != "file":
        return audio
    for place in (str(folder), *roots):
        candidate = os.path.join(place, path)  # an absolute path stays as it is
        if _is_something(candidate):
            return candidate
    return audio


def _is_something(path: str) -> bool:
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:  # it is there and cannot be read: not a reason to take another file
        return True
    return True
