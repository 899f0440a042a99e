"""Reading the audio of records: in portions, measured, every fault typed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from time import perf_counter

import msgspec

from schemas.failures import ErrorCode
from schemas.manifest import ManifestRecord
from serve_app.audio import AudioError
from serve_app.audio.measures import measure
from serve_app.engines.base import Clip
from serve_app.faults import log_where
from serve_app.selection import Measures

#: Hertz that audio is decoded at, once for all models; a model of another rate resamples.
SAMPLE_RATE = 16_000
#: Seconds of audio, by what the records say, that a thread reads at a time: each hand-over between
#: a thread and the event loop costs CPU. A record that does not say is read by itself.
READ_SECONDS = 30.0
#: Reads one record's audio at `SAMPLE_RATE`. Blocks; raises `serve_app.audio.AudioError`.
Load = Callable[[ManifestRecord], Clip]


class Loaded(msgspec.Struct, frozen=True):
    """A record's audio, what was measured of it, and the milliseconds that both took."""

    clip: Clip
    measures: Measures
    audio_ms: float


def portions(records: Sequence[ManifestRecord]) -> Iterator[range]:
    """Indices of neighbours that are read together, at most `READ_SECONDS` unless it is one."""
    begin, total = 0, 0.0
    for index, record in enumerate(records):
        seconds = READ_SECONDS if record.duration is None else record.duration
        if index > begin and total + seconds > READ_SECONDS:
            yield range(begin, index)
            begin, total = index, 0.0
        total += seconds
    if records:
        yield range(begin, len(records))


def load_all(
    load: Load,
    records: Sequence[ManifestRecord],
    clips: Sequence[Clip] | None = None,
    *,
    speech: bool = False,
) -> list[Loaded | Exception]:
    """Each record's audio, or why there is none.

    Args:
        clips: the audio, where it is known.
        speech: see `serve_app.audio.measures.measure`.
    """
    loaded: list[Loaded | Exception] = []
    for index, record in enumerate(records):
        started = perf_counter()
        try:
            clip = load(record) if clips is None else clips[index]
            measures = measure(clip, SAMPLE_RATE, speech=speech)
            loaded.append(Loaded(clip, measures, (perf_counter() - started) * 1000))
        except Exception as error:
            loaded.append(error)
    return loaded


def audio_fault(error: Exception) -> tuple[ErrorCode, str]:
    """The code and the words for what the loader, or something under it, raised."""
    if isinstance(error, AudioError):
        return error.code, str(error)
    # not one of the loader's own: a fault of ours or of a library; the record must not be lost
    log_where(error)
    if isinstance(error, OSError | MemoryError):
        return ErrorCode.AUDIO_IO, f"`audio_filepath`: cannot be read ({type(error).__name__})"
    return (
        ErrorCode.AUDIO_UNDECODABLE,
        f"`audio_filepath`: fails to decode ({type(error).__name__})",
    )
