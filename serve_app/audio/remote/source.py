"""The audio below one root of the settings that is a URL."""

from __future__ import annotations

from schemas.settings import AudioSettings
from serve_app.audio.clip import Segment
from serve_app.audio.remote.buckets import BucketReader
from serve_app.audio.remote.fetching import Fetcher
from serve_app.audio.remote.kept import KeptRecordings
from serve_app.audio.remote.locations import Location, RemoteRoot
from serve_app.audio.remote.reader import Reader


class RemoteSource:
    """Recordings below a root that is a URL. Any number of threads may use it.

    Args:
        url: the root.
        settings: the limits.
        kept: recordings that were fetched before, below all roots.
    """

    def __init__(self, url: str, settings: AudioSettings, kept: KeptRecordings) -> None:
        self.root = RemoteRoot(url)
        self._fetcher = Fetcher(_reader_of(self.root, settings), kept, self.root.url)

    def open(self, location: Location, segment: Segment) -> int:
        """Fetch a recording below the root.

        Args:
            location: of the recording.
            segment: what is needed of it; the rest need not be there.

        Returns:
            A descriptor of an unnamed file, at its start. The caller closes it.

        Raises:
            AudioError: it is missing, may not be read, is too large, or cannot be fetched now.
            OSError: the system refused.
        """
        return self._fetcher.fetch(location, segment)


def _reader_of(root: RemoteRoot, settings: AudioSettings) -> Reader:
    if root.is_web:
        # with the library for TLS, which few need
        from serve_app.audio.remote.web import WebReader

        allow = settings.allow_private_addresses
        return WebReader(root, settings.max_bytes, allow_private=allow)
    return BucketReader(root, settings.max_bytes)
