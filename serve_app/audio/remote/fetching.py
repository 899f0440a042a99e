"""A recording of a store in an unnamed file: whole, or as much of it as a segment needs."""

from __future__ import annotations

import os
from collections.abc import Sequence

from serve_app.audio.clip import Segment
from serve_app.audio.remote.kept import KeptRecordings
from serve_app.audio.remote.locations import Location
from serve_app.audio.remote.reader import Reader, Sent, Wanted, changed
from serve_app.audio.unnamed import on_disk, unnamed
from serve_app.audio.wav import find_samples

#: Bytes of the first request, which most utterances are smaller than: 32 s of 16-bit samples at
#: 16 kHz.
FIRST = 1 << 20
#: The same for a segment that does not begin with the recording: the header and a little more.
_HEADER = 1 << 16
#: Bytes of the others: few enough that each is there long before the time limit of a request.
_PART = 8 << 20
#: Most bytes of a segment that are not put on disk: many are fetched at once.
_MOST_IN_MEMORY = 8 << 20
#: Seconds on either side of a segment that are fetched with it.
_MARGIN_S = 1.0
#: Most bytes behind the samples, such as a list of cues, that are fetched with a segment.
_MAX_BEHIND = 1 << 16


class Fetcher:
    """Fetches what is below one root.

    Args:
        reader: of the store; it refuses what is too large.
        kept: recordings that were fetched before.
        root: in whose names they are kept.
    """

    def __init__(self, reader: Reader, kept: KeptRecordings, root: str) -> None:
        self._reader = reader
        self._kept = kept
        self._root = root

    def fetch(self, location: Location, segment: Segment) -> int:
        """Fetch a recording.

        Of a long WAV file only the segment and what a decoder reads beside it are there; the rest
        are holes, which nobody reads.

        Args:
            location: of the recording.
            segment: what is needed of it.

        Returns:
            A descriptor of an unnamed file, at its start. The caller closes it.

        Raises:
            AudioError: see `Reader.read`.
            OSError: the file cannot be written.
        """
        name = (self._root, location.key)
        known = self._kept.version(name)
        file = unnamed(FIRST) if self._reader.knows_ranges else on_disk()
        try:
            asked = Wanted(location, 0, _HEADER if segment.offset else FIRST, known=known)
            first = self._reader.read(asked, file)
            if first is None:
                kept = self._kept.open(name, known)
                if kept is not None:
                    return kept
                first = self._reader.read(asked._replace(known=None), file)  # it went meanwhile
            if first is None:
                raise changed()
            if first.stop >= first.size:
                return os.dup(file)
            parts = _parts_of_wav(file, first, segment)
            if parts is None:
                return self._fetch_whole(name, location, first, file)
            small = sum(stop - start for start, stop in parts) <= _MOST_IN_MEMORY
            to = unnamed(_MOST_IN_MEMORY) if small else on_disk()
            return self._fetch_parts(location, first, file, parts, to)
        finally:
            os.close(file)

    def _fetch_whole(
        self, name: tuple[str, str], location: Location, first: Sent, beginning: int
    ) -> int:
        """The whole recording, which is kept if there is room for it."""
        rest = [(first.stop, first.size)]
        if first.version is None or first.size <= FIRST or not self._kept.takes(first.size):
            return self._fetch_parts(location, first, beginning, rest, on_disk())
        with self._kept.filling(name):
            file = self._kept.open(name, first.version)
            if file is None:
                file = self._fetch_parts(location, first, beginning, rest, on_disk())
                self._kept.add(name, first.version, file)
            return file

    def _fetch_parts(
        self,
        location: Location,
        first: Sent,
        beginning: int,
        parts: Sequence[tuple[int, int]],
        to: int,
    ) -> int:
        """Give a new file the size of the whole, its beginning and these ranges."""
        try:
            os.pwrite(to, os.pread(beginning, first.stop, 0), 0)
            os.ftruncate(to, first.size)
            for start, stop in parts:
                self._fetch_range(location, first, start, stop, to)
        except BaseException:
            os.close(to)
            raise
        return to

    def _fetch_range(
        self, location: Location, first: Sent, start: int, stop: int, file: int
    ) -> None:
        """Add bytes of the version that `first` is of."""
        while start < stop:
            wanted = Wanted(location, start, min(start + _PART, stop), version=first.version)
            sent = self._reader.read(wanted, file)
            if sent is None or sent.size != first.size or sent.stop <= start:
                raise changed()
            start = sent.stop


def _parts_of_wav(file: int, first: Sent, segment: Segment) -> list[tuple[int, int]] | None:
    """The ranges of a WAV file that a segment needs in addition to what was read first.

    None for another file, and where its header and its size do not agree: that is for a decoder to
    judge.
    """
    samples = find_samples(file)
    if samples is None or samples.start > first.stop:
        return None
    end = samples.start + samples.size
    if not 0 <= first.size - end <= _MAX_BEHIND:
        return None
    begin = _place(segment.offset - _MARGIN_S, samples.rate) * samples.frame_bytes
    stop = end
    if segment.duration is not None:
        after = segment.offset + segment.duration + _MARGIN_S
        stop = samples.start + _place(after, samples.rate) * samples.frame_bytes
    wanted = [(samples.start + begin, min(stop, end)), (end, first.size)]
    return [(max(start, first.stop), stop) for start, stop in wanted if stop > first.stop]


def _place(seconds: float, rate: int) -> int:
    """The frame at a time."""
    return int(max(seconds, 0.0) * rate)
