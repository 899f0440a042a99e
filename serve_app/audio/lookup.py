"""Where a record's audio is looked up: in the folders and below the URLs of `audio.roots`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import groupby

from schemas.failures import ErrorCode
from schemas.settings import AudioSettings
from schemas.settings.audio import URL_SCHEMES, is_url
from serve_app.audio.clip import Segment
from serve_app.audio.errors import AudioError
from serve_app.audio.remote.kept import KeptRecordings
from serve_app.audio.remote.source import RemoteSource
from serve_app.audio.sources import FileSource, Source, split_scheme


class Lookup:
    """Finds and opens the audio that a record names.

    Args:
        settings: the roots, in order, and the limits.
        sources: further sources by URL scheme.
    """

    def __init__(self, settings: AudioSettings, sources: Mapping[str, Source]) -> None:
        folders = [root for root in settings.roots if not is_url(root)]
        self._sources = {"file": FileSource(folders, settings.max_bytes), **sources}
        kept = KeptRecordings(settings.cache_bytes)
        self._remote = [
            RemoteSource(root, settings, kept) for root in settings.roots if is_url(root)
        ]
        self._places = list(self._in_order(settings)) if self._remote else []

    def open(self, path: str, segment: Segment) -> int:
        """Open the audio of a record for reading.

        Args:
            path: as in the record.
            segment: what is needed of it; the rest of a file that is fetched need not be there.

        Returns:
            A descriptor of a regular file, at its start. The caller closes it.

        Raises:
            AudioError: it may not or cannot be read.
            OSError: the system refused.
        """
        scheme, location = split_scheme(path)
        if scheme in URL_SCHEMES and scheme not in self._sources:
            return self._open_url(path, segment)
        source = self._sources.get(scheme)
        if source is None:
            raise _not_read(scheme)
        if scheme == "file" and self._places and not os.path.isabs(location):
            return self._open_relative(location, segment)
        return source.open(location)

    def is_remote(self, path: str) -> bool:
        """Whether the audio of a record may have to be fetched."""
        if not self._remote:
            return False
        return path.partition("://")[0].lower() in URL_SCHEMES or not os.path.isabs(path)

    def _open_url(self, url: str, segment: Segment) -> int:
        for source in self._remote:
            location = source.root.find(url)
            if location is not None:
                return source.open(location, segment)
        raise _not_read(url.partition("://")[0].lower())

    def _open_relative(self, path: str, segment: Segment) -> int:
        """Open the first that exists, in the order of the roots."""
        for place in self._places:
            try:
                if isinstance(place, FileSource):
                    return place.open(path)
                return place.open(place.root.below(path), segment)
            except AudioError as error:
                if error.code is not ErrorCode.AUDIO_MISSING:
                    raise
                missing = error
        raise missing

    def _in_order(self, settings: AudioSettings) -> list[FileSource | RemoteSource]:
        """The roots; folders that follow each other together."""
        remote = iter(self._remote)
        places: list[FileSource | RemoteSource] = []
        for are_urls, roots in groupby(settings.roots, is_url):
            if are_urls:
                places += [next(remote) for _ in roots]
            else:
                places.append(FileSource(list(roots), settings.max_bytes))
        return places


def _not_read(scheme: str) -> AudioError:
    return AudioError(
        ErrorCode.AUDIO_OUTSIDE_ROOTS,
        f"this `{scheme}://` address is not read; give one below `audio.roots`, or add its bucket "
        "or host there",
    )
