"""Loading and measuring the audio of several records, with a typed error for each failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from time import perf_counter

import msgspec

from schemas.channels import one_channel
from schemas.failures import ErrorCode
from schemas.manifest import ManifestRecord
from serve_app.audio import AudioError, AudioLoader
from serve_app.audio.clip import SAMPLE_RATE, Clip, Measures, Recording
from serve_app.audio.measures import measure
from serve_app.audio.voice_activity import speech_probabilities
from serve_app.system.logs import log_location

#: Seconds of audio, by what the records say, that a thread reads at a time: each hand-over between
#: a thread and the event loop costs CPU. A record that does not say is read by itself.
READ_SECONDS = 30.0
#: Reads one record's audio at `SAMPLE_RATE`. Blocks; raises `serve_app.audio.AudioError`.
Load = Callable[[ManifestRecord], Recording]
#: Begins to fetch one record's audio, without waiting, and returns what reads it then.
Begin = Callable[[ManifestRecord], Callable[[], Recording]]


class Loaded(msgspec.Struct, frozen=True):
    """A record's audio, what was measured of it, and the milliseconds that both took.

    `speech` is the probability of speech in each frame, if it was asked for.
    """

    recording: Recording
    measures: Measures
    audio_ms: float
    speech: Clip | None = None

    @property
    def clip(self) -> Clip:
        """The samples."""
        return self.recording.clip


class RecordReader:
    """Reads the audio of records by a loader; what is not on this machine is fetched ahead."""

    def __init__(self, loader: AudioLoader) -> None:
        self._loader = loader

    def begin(self, record: ManifestRecord) -> Callable[[], Recording]:
        """See `Begin`."""
        ahead = self._loader.fetch_ahead(
            record.audio_filepath, offset=record.offset, duration=record.duration
        )
        return partial(
            self._loader.read,
            record.audio_filepath,
            offset=record.offset,
            duration=record.duration,
            channel=one_channel(record.channel),
            ahead=ahead,
        )

    def load(self, record: ManifestRecord) -> Recording:
        """See `Load`."""
        return self.begin(record)()


def portions(records: Sequence[ManifestRecord]) -> Iterator[range]:
    """Ranges of records to read together: at most `READ_SECONDS` of audio, or one record."""
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
    begin: Begin,
    records: Sequence[ManifestRecord],
    clips: Sequence[Recording] | None = None,
    *,
    speech: bool = False,
    frames: bool = False,
) -> list[Loaded | Exception]:
    """Each record's audio, or why there is none.

    Args:
        begin: begins to read the audio of one record; called for all of them first.
        records: whose audio is read.
        clips: the records' audio at `SAMPLE_RATE`; if given, nothing is read.
        speech: see `serve_app.audio.measures.measure`.
        frames: whether the probabilities of speech are wanted.
    """
    loaded: list[Loaded | Exception] = []
    reads = [begin(record) for record in records] if clips is None else []
    for index in range(len(records)):
        started = perf_counter()
        try:
            recording = reads[index]() if clips is None else clips[index]
            clip = recording.clip
            measures = measure(clip, SAMPLE_RATE, speech=speech) | recording.measures
            spoken = speech_probabilities(clip) if frames else None
            audio_ms = (perf_counter() - started) * 1000
            loaded.append(Loaded(recording, measures, audio_ms, spoken))
        except Exception as error:
            loaded.append(error)
    return loaded


def audio_fault(error: Exception) -> tuple[ErrorCode, str]:
    """The code and the message for an error raised by the loader or a library."""
    if isinstance(error, AudioError):
        return error.code, str(error)
    # not an error of the loader: a bug of Chorus or of a library; the record must not be lost
    log_location(error)
    if isinstance(error, OSError | MemoryError):
        cause = getattr(error, "strerror", None) or type(error).__name__
        reason = f"cannot be read just now ({cause}); it is tried again"
        return ErrorCode.AUDIO_IO, f"`audio_filepath`: {reason}"
    reason = f"cannot be decoded ({type(error).__name__}); convert the file to WAV or FLAC"
    return ErrorCode.AUDIO_UNDECODABLE, f"`audio_filepath`: {reason}"
