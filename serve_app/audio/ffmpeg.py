"""Decoding by FFmpeg (https://ffmpeg.org, by PyAV): what libsndfile cannot read, or not to its end.

Of FFmpeg only a few demuxers and audio decoders are ever used. Video is never decoded.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator
from typing import Any, NoReturn

import av
import numpy as np
import soxr
from av.audio.frame import AudioFrame
from av.audio.plane import AudioPlane
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Discard

from schemas.failures import ErrorCode
from schemas.settings import AudioSettings
from serve_app.audio.clip import Clip
from serve_app.audio.downmix import Downmix
from serve_app.audio.errors import AudioError
from serve_app.audio.header import CONVERT, Container, Header
from serve_app.audio.joined import refuse_other
from serve_app.audio.limits import (
    BLOCK,
    MIN_SECONDS,
    cut_off,
    damaged,
    empty,
    to_full_scale,
    tolerated,
    too_long,
)
from serve_app.audio.ogg import ogg_codecs

#: FFmpeg's names of the decoders that may run.
_DECODERS = frozenset(
    {
        *("aac", "alac", "flac", "mp3", "mp3float", "opus", "vorbis"),
        *("pcm_u8", "pcm_s8", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be"),
        *("pcm_s32le", "pcm_s32be", "pcm_f32le", "pcm_f32be", "pcm_f64le", "pcm_f64be"),
        *("pcm_alaw", "pcm_mulaw"),
    }
)
#: To look at a stream FFmpeg opens a decoder for it, of video too, unless it is not on this list.
_OPTIONS = {"codec_whitelist": ",".join(sorted(_DECODERS)), "protocol_whitelist": "none"}
#: FFmpeg's sample formats, without the "p" of planar: (dtype, value of zero, full scale).
_SAMPLES: dict[str, tuple[type[np.generic], float, float]] = {
    "u8": (np.uint8, 128.0, 2.0**7),
    "s16": (np.int16, 0.0, 2.0**15),
    "s32": (np.int32, 0.0, 2.0**31),
    "flt": (np.float32, 0.0, 1.0),
    "dbl": (np.float64, 0.0, 1.0),
}


#: FFmpeg's names of the demuxers that may run.
_DEMUXERS = {
    Container.WAV: "wav",
    Container.FLAC: "flac",
    Container.MP3: "mp3",
    Container.OGG: "ogg",
    Container.MP4: "mov",
    Container.WEBM: "matroska",
    Container.AAC: "aac",
}
#: Those that go on behind bytes that are no audio, and may end anywhere.
_TOLERANT = frozenset({Container.WAV, Container.MP3})

#: Bytes without a frame that a decoder may step over: a tag between two files, padding, a frame cut
#: in two.
_MAX_RUBBISH = 64 << 10


def decode_by_ffmpeg(
    fd: int,
    header: Header,
    downmix: Downmix,
    *,
    offset: float = 0.0,
    duration: float | None = None,
    sample_rate: int,
    limits: AudioSettings,
) -> Clip:
    """Decode the segment [offset, offset + duration) of the first audio track of a file.

    Args:
        fd: descriptor of a regular file; moved, not closed.
        header: what `read_header` found in it.
        downmix: makes one channel of several.
        offset: in seconds.
        duration: in seconds; None means to the end.
        sample_rate: hertz of the result.
        limits: on seconds, channels, sample rate, and bytes of encoded audio.

    Raises:
        AudioError: see `AudioLoader.read`; the message does not name the file.
        OSError: reading failed.
    """
    kind = header.container
    try:
        with (
            _Tail(fd, header.begin) as file,
            av.open(
                file,
                mode="r",
                format=_DEMUXERS[kind],  # else it is guessed, among some four hundred
                options=_OPTIONS,
                metadata_errors="ignore",
                io_open=_refuse_reference,
            ) as container,
            np.errstate(invalid="ignore", over="ignore"),
        ):
            stream = _first_audio(container, header)
            stated = 0.0
            if header.length_known and stream.duration and stream.time_base:
                stated = float(stream.duration * stream.time_base)
            mixdown = _Mixdown(sample_rate, limits, downmix, offset, duration)
            for frame in _frames(container, stream, kind, limits):
                mixdown.add(frame)
                if mixdown.full:
                    break
            else:
                refuse_other(fd, header)
                if header.cut or mixdown.seconds < stated - tolerated(stated):
                    raise damaged(kind, "it ends before its header says")
            return to_full_scale(mixdown.finish())
    except av.error.MemoryError:
        raise
    except av.error.PatchWelcomeError:
        refuse_other(fd, header)
        raise _joined(fd, kind) from None
    except av.FFmpegError as error:
        refuse_other(fd, header)
        if kind is Container.OGG and len(ogg_codecs(fd)) > 1:
            raise _joined(fd, kind) from None
        raise damaged(kind, error.strerror or "unknown error") from None


def _joined(fd: int, kind: Container) -> AudioError:
    """The error of recordings of which FFmpeg, to convert them as well, reads the first only."""
    codecs = ogg_codecs(fd) if kind is Container.OGG else []
    what = f" ({', then '.join(codecs)})" if len(codecs) > 1 else ""
    return AudioError(
        ErrorCode.AUDIO_UNSUPPORTED,
        f"is {kind} of recordings of different kinds, joined{what}; give each as a file of its own",
    )


class _Tail(io.FileIO):
    """The file open at `fd` from the byte `begin` on, as if it began there."""

    def __init__(self, fd: int, begin: int) -> None:
        super().__init__(fd, "rb", closefd=False)
        self._begin = begin
        self.seek(0)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to `offset`; counted from `begin` if `whence` is `SEEK_SET`."""
        return super().seek(offset + self._begin * (whence == os.SEEK_SET), whence) - self._begin

    def tell(self) -> int:
        """The position, counted from `begin`."""
        return super().tell() - self._begin


def _refuse_reference(url: str, flags: int, options: dict[str, Any]) -> NoReturn:
    raise AudioError(ErrorCode.AUDIO_UNSUPPORTED, "refers to other files; send one that does not")


def _first_audio(container: InputContainer, header: Header) -> AudioStream:
    """The first audio track, ready to be decoded; all others are skipped in the file."""
    kind = header.container
    if not container.streams.audio:
        if header.cut:  # and its index with it
            raise damaged(kind, "it ends before its header says")
        raise AudioError(ErrorCode.AUDIO_EMPTY, f"is {kind} without an audio track")
    stream = container.streams.audio[0]
    # None where FFmpeg has no decoder at all, which PyAV's types leave out.
    codec: av.Codec | None = getattr(stream.codec_context, "codec", None)
    if codec is None or codec.name not in _DECODERS:
        name = codec.canonical_name if codec else "an unknown codec"
        raise AudioError(ErrorCode.AUDIO_UNSUPPORTED, f"is {kind} of {name}; {CONVERT}")
    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all
    stream.codec_context.thread_count = 1
    return stream


def _frames(
    container: InputContainer, stream: AudioStream, kind: Container, limits: AudioSettings
) -> Iterator[AudioFrame]:
    """The decoded frames of `stream`.

    The bytes of its packets are counted against `limits.max_bytes`, whatever the size of the file:
    an index may refer to the same bytes many times.
    """
    read = rubbish = 0
    for packet in container.demux(stream):
        read += packet.size
        if read > limits.max_bytes:
            raise AudioError(
                ErrorCode.AUDIO_TOO_LARGE,
                f"holds more than {limits.max_bytes} bytes of audio; compress or split it",
            )
        if packet.is_corrupt and kind not in _TOLERANT:
            raise damaged(kind, "a packet is incomplete")
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            rubbish += packet.size
            if kind not in _TOLERANT or rubbish > _MAX_RUBBISH:
                raise
            continue
        yield from frames


class _Mixdown:
    """Joins the decoded frames of a segment to one mono clip.

    Args:
        sample_rate: hertz of the clip. That of the frames is their own: headers may lie.
        limits: on what the frames turn out to hold.
        downmix: makes one channel of several.
        offset: start of the segment in seconds.
        duration: its length in seconds; None means to the end.
    """

    def __init__(
        self,
        sample_rate: int,
        limits: AudioSettings,
        downmix: Downmix,
        offset: float,
        duration: float | None,
    ) -> None:
        self._target = sample_rate
        self._limits = limits
        self._downmix = downmix
        self._offset, self._duration = offset, duration
        self._rate = 0
        self._position = 0  # in the file, in samples
        self._start, self._stop = 0, 0  # of the segment, in samples
        self._got = 0
        self._resampler: soxr.ResampleStream | None = None
        self._pending: list[Clip] = []
        self._pending_samples = 0
        # Room for the longest clip that is allowed; the memory is used only where it is written.
        self._clip: Clip = np.empty(math.ceil(limits.max_seconds * sample_rate) + 16, np.float32)
        self._filled = 0

    @property
    def seconds(self) -> float:
        """How much audio was added, the segment or not, in seconds."""
        return self._position / max(self._rate, 1)

    @property
    def full(self) -> bool:
        """Whether the end of the segment is reached."""
        return self._duration is not None and self._rate > 0 and self._position >= self._stop

    def add(self, frame: AudioFrame) -> None:
        """Append what the segment has of a frame.

        Raises:
            AudioError: the clip gets too long, or the frame has too many channels or another rate.
        """
        if frame.sample_rate != self._rate:
            self._set_rate(frame.sample_rate)
        channels = frame.layout.nb_channels
        if channels > self._limits.max_channels:
            raise AudioError(
                ErrorCode.AUDIO_UNSUPPORTED,
                f"has {channels} channels; {self._limits.max_channels} are allowed; "
                "mix it down to one",
            )
        first = max(self._start - self._position, 0)
        last = frame.samples
        if self._duration is not None:
            last = min(last, self._stop - self._position)
        self._position += frame.samples
        if first >= last:
            return
        self._got += last - first
        if self._got > self._limits.max_seconds * self._rate:
            raise too_long("longer than allowed", self._limits)
        self._pending.append(self._downmix.mix([e[first:last] for e in _channels(frame)]))
        self._pending_samples += last - first
        if self._pending_samples >= BLOCK:
            self._resample(last=False)

    def finish(self) -> Clip:
        """The clip, float32 of shape [samples].

        Raises:
            AudioError: it is shorter than `MIN_SECONDS`, or than the segment.
        """
        seconds = self._got / max(self._rate, 1)
        if seconds < MIN_SECONDS:
            raise empty(self._offset, seconds, self.seconds)
        if self._duration is not None and self._duration - seconds > tolerated(self._duration):
            raise cut_off(self._offset, self._duration, seconds)
        self._resample(last=True)
        self._clip.resize(self._filled, refcheck=False)
        return self._clip

    def _set_rate(self, rate: int) -> None:
        if self._rate:
            raise AudioError(
                ErrorCode.AUDIO_UNSUPPORTED,
                f"changes its sample rate midway ({self._rate} to {rate} Hz); convert it to WAV",
            )
        lowest, highest = self._limits.min_sample_rate, self._limits.max_sample_rate
        if not lowest <= rate <= highest:
            raise AudioError(
                ErrorCode.AUDIO_UNSUPPORTED,
                f"has a sample rate of {rate} Hz; {lowest} to {highest} are allowed; resample it",
            )
        self._rate = rate
        self._start = round(self._offset * rate)
        if self._duration is not None:
            self._stop = round((self._offset + self._duration) * rate)
        if rate != self._target:
            self._resampler = soxr.ResampleStream(
                rate, self._target, 1, dtype="float32", quality="HQ"
            )

    def _resample(self, last: bool) -> None:
        block = np.concatenate([*self._pending, np.zeros(0, np.float32)])
        self._pending.clear()
        self._pending_samples = 0
        if self._resampler is not None:
            block = self._resampler.resample_chunk(block, last=last)
        self._clip[self._filled : self._filled + len(block)] = block
        self._filled += len(block)


def _channels(frame: AudioFrame) -> list[Clip]:
    """The channels of `frame`, with full scale as 1; shape [samples] each."""
    dtype, zero, scale = _SAMPLES[frame.format.name.removesuffix("p")]
    channels = frame.layout.nb_channels
    if frame.format.is_planar:
        # Not `frame.planes` or `to_ndarray`: PyAV 18 reads past the planes where there are eight.
        planes = [
            np.frombuffer(memoryview(AudioPlane(frame, index)), dtype, frame.samples)
            for index in range(channels)
        ]
    else:
        plane = memoryview(AudioPlane(frame, 0))
        packed = np.frombuffer(plane, dtype, frame.samples * channels)
        planes = list(packed.reshape(-1, channels).T)
    return [(each.astype(np.float32) - np.float32(zero)) / np.float32(scale) for each in planes]
