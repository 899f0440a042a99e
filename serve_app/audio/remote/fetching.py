"""A recording of a store, in an unnamed file: whole."""

from __future__ import annotations

import os

from serve_app.audio.remote.locations import Location
from serve_app.audio.remote.reader import Reader, Sent, Wanted, changed
from serve_app.audio.unnamed import unnamed

#: Bytes of the first request, which most utterances are smaller than: 32 s of 16-bit samples at
#: 16 kHz.
FIRST = 1 << 20
#: Bytes of the others: few enough that each is there long before the time limit of a request.
_PART = 8 << 20


def fetch(reader: Reader, location: Location) -> int:
    """Fetch a recording.

    Args:
        reader: of the store; it refuses what is too large.
        location: of the recording.

    Returns:
        A descriptor of an unnamed file, at its start. The caller closes it.

    Raises:
        AudioError: see `Reader.read`.
        OSError: the file cannot be written.
    """
    file = unnamed(FIRST)
    try:
        first = reader.read(Wanted(location, 0, FIRST), file)
        if first is None:  # only what is known already is not sent
            raise changed()
        if first.stop < first.size:
            file = _moved(file, first)
            fetch_range(reader, location, first, first.stop, first.size, file)
    except BaseException:
        os.close(file)
        raise
    return file


def fetch_range(
    reader: Reader, location: Location, first: Sent, start: int, stop: int, file: int
) -> None:
    """Add bytes of the version that `first` is of.

    Raises:
        AudioError: see `Reader.read`; also if there is another version by now.
        OSError: the file cannot be written.
    """
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
