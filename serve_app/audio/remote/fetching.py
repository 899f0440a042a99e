"""A recording of a store in an unnamed file: whole, or as much of it as a segment needs."""

from __future__ import annotations

import os

from serve_app.audio.clip import Segment
from serve_app.audio.remote.locations import Location
from serve_app.audio.remote.reader import Reader, Sent, Wanted, changed
from serve_app.audio.unnamed import unnamed
from serve_app.audio.wav import find_samples

#: Bytes of the first request, which most utterances are smaller than: 32 s of 16-bit samples at
#: 16 kHz.
FIRST = 1 << 20
#: The same for a segment that does not begin with the recording: the header and a little more.
_HEADER = 1 << 16
#: Bytes of the others: few enough that each is there long before the time limit of a request.
_PART = 8 << 20
#: Seconds on either side of a segment that are fetched with it.
_MARGIN_S = 1.0
#: Most bytes behind the samples, such as a list of cues, that are fetched with a segment.
_MAX_BEHIND = 1 << 16


def fetch(reader: Reader, location: Location, segment: Segment) -> int:
    """Fetch a recording.

    Of a long WAV file only the segment and what a decoder reads beside it are there; the rest are
    holes, which nobody reads.

    Args:
        reader: of the store; it refuses what is too large.
        location: of the recording.
        segment: what is needed of it.

    Returns:
        A descriptor of an unnamed file, at its start. The caller closes it.

    Raises:
        AudioError: see `Reader.read`.
        OSError: the file cannot be written.
    """
    file = unnamed(FIRST)
    try:
        first = reader.read(Wanted(location, 0, _HEADER if segment.offset else FIRST), file)
        if first is None:  # only what is known already is not sent
            raise changed()
        if first.stop < first.size:
            parts = _parts_of_wav(file, first, segment)
            if parts is None:
                file = _moved(file, first)
                parts = [(first.stop, first.size)]
            for start, stop in parts:
                _fetch_range(reader, location, first, start, stop, file)
    except BaseException:
        os.close(file)
        raise
    return file


def _parts_of_wav(file: int, first: Sent, segment: Segment) -> list[tuple[int, int]] | None:
    """The ranges of a WAV file that a segment needs in addition to what was read first.

    The file gets the size of the whole. None for another file, and where its header and its size do
    not agree: that is for a decoder to judge.
    """
    os.ftruncate(file, first.size)
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
    return [(max(start, first.stop), stop) for start, stop in wanted]


def _place(seconds: float, rate: int) -> int:
    """The frame at a time."""
    return int(max(seconds, 0.0) * rate)


def _fetch_range(
    reader: Reader, location: Location, first: Sent, start: int, stop: int, file: int
) -> None:
    """Add bytes of the version that `first` is of."""
    while start < stop:
        wanted = Wanted(location, start, min(start + _PART, stop), version=first.version)
        sent = reader.read(wanted, file)
        if sent is None or sent.size != first.size or sent.stop <= start:
            raise changed()
        start = sent.stop


def _moved(file: int, first: Sent) -> int:
    """What was read first, in a file that is large enough for the rest."""
    larger = unnamed(first.size)
    os.pwrite(larger, os.pread(file, first.stop, 0), 0)
    os.close(file)
    return larger
