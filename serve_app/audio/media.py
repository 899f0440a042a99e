"""From any uploaded file to one clip: what libsndfile reads, and what FFmpeg must.

WAV, FLAC, MP3 and Ogg go the way of all audio (`formats`, `decode`). M4A and MP4, WebM and
Matroska, and AAC go through FFmpeg (https://ffmpeg.org, by PyAV), of which only three demuxers and
a few audio decoders are ever used. Video is never decoded.

Here the limits are on what comes out; for files that nobody vouches for, run it in a process that
may die: `untrusted`.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

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
from serve_app.audio.decode import MIN_SECONDS, decode, to_full_scale
from serve_app.audio.errors import AudioError
from serve_app.audio.formats import read_header, skip_id3
from serve_app.engines.base import Clip

#: Samples collected before they are resampled; the same as `decode` takes at a time.
_BLOCK = 65_536
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


class _Kind(NamedTuple):
    """A container that FFmpeg reads: FFmpeg's name of its demuxer, and the name for people."""

    demuxer: str
    name: str


_MP4 = _Kind("mov", "MP4")
_MATROSKA = _Kind("matroska", "WebM or Matroska")
_AAC = _Kind("aac", "AAC")


def decode_media(fd: int, *, sample_rate: int, limits: AudioSettings) -> Clip:
    """Decode the whole file open at `fd`; of several audio tracks, the first.

    Args:
        fd: descriptor of a regular file, at its start; moved, not closed.
        sample_rate: hertz of the result.
        limits: on seconds, channels, sample rate, and bytes of encoded audio.

    Raises:
        AudioError: `AUDIO_UNSUPPORTED`, `AUDIO_UNDECODABLE`, `AUDIO_EMPTY` (also for a film without
            sound), `AUDIO_TOO_LONG`, `AUDIO_TOO_LARGE` or `AUDIO_IO`, as of `AudioLoader.load`; the
            message does not name the file.
        OSError: reading failed.
    """
    kind = _identify(fd)
    if kind is None:
        header = read_header(fd)
        return decode(fd, header, offset=0.0, duration=None, sample_rate=sample_rate, limits=limits)
    if _is_cut(fd, kind):
        raise _damaged(kind, "it ends before its header says")
    try:
        return _decode_by_ffmpeg(fd, kind, sample_rate, limits)
    except av.error.MemoryError:
        raise
    except av.FFmpegError as error:
        raise _damaged(kind, error.strerror or "unknown error") from None


def _decode_by_ffmpeg(fd: int, kind: _Kind, sample_rate: int, limits: AudioSettings) -> Clip:
    with (
        os.fdopen(fd, "rb", closefd=False) as file,
        av.open(
            file,
            mode="r",
            format=kind.demuxer,  # else it is guessed, among some four hundred
            options=_OPTIONS,
            metadata_errors="ignore",
            io_open=_refuse_reference,
        ) as container,
        np.errstate(invalid="ignore", over="ignore"),
    ):
        stream = _first_audio(container, kind)
        mixdown = _Mixdown(sample_rate, limits)
        for frame in _frames(container, stream, kind, limits):
            mixdown.add(frame)
        return to_full_scale(mixdown.finish())


def _refuse_reference(url: str, flags: int, options: dict[str, Any]) -> NoReturn:
    raise AudioError(ErrorCode.AUDIO_UNSUPPORTED, "refers to other files; send one that does not")


def _first_audio(container: InputContainer, kind: _Kind) -> AudioStream:
    """The first audio track, ready to be decoded; all others are skipped in the file."""
    if not container.streams.audio:
        raise AudioError(ErrorCode.AUDIO_EMPTY, f"is {kind.name} without an audio track")
    stream = container.streams.audio[0]
    # None where FFmpeg has no decoder at all, which PyAV's types leave out.
    codec: av.Codec | None = getattr(stream.codec_context, "codec", None)
    if codec is None or codec.name not in _DECODERS:
        name = codec.canonical_name if codec else "an unknown codec"
        raise AudioError(
            ErrorCode.AUDIO_UNSUPPORTED, f"is {kind.name} of {name}; convert it to WAV or FLAC"
        )
    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all
    stream.codec_context.thread_count = 1
    return stream


def _frames(
    container: InputContainer, stream: AudioStream, kind: _Kind, limits: AudioSettings
) -> Iterator[AudioFrame]:
    """What the packets of `stream` hold. An index may name the same bytes again and again, so
    those read are counted, whatever the size of the file."""
    read = 0
    for packet in container.demux(stream):
        read += packet.size
        if read > limits.max_bytes:
            raise AudioError(
                ErrorCode.AUDIO_TOO_LARGE, f"holds more than {limits.max_bytes} bytes of audio"
            )
        if packet.is_corrupt:
            raise _damaged(kind, "a packet is incomplete")
        yield from packet.decode()


class _Mixdown:
    """Takes decoded frames and makes them one mono clip.

    Args:
        sample_rate: hertz of the clip. That of the frames is their own: headers may lie.
        limits: on what the frames turn out to hold.
    """

    def __init__(self, sample_rate: int, limits: AudioSettings) -> None:
        self._target = sample_rate
        self._limits = limits
        self._rate = 0
        self._got = 0
        self._resampler: soxr.ResampleStream | None = None
        self._pending: list[Clip] = []
        self._pending_samples = 0
        # All that may ever be needed: it costs nothing until it is written.
        self._clip: Clip = np.empty(math.ceil(limits.max_seconds * sample_rate) + 16, np.float32)
        self._filled = 0

    def add(self, frame: AudioFrame) -> None:
        """Take one more frame; AudioError where it is one too many, or not allowed."""
        if frame.sample_rate != self._rate:
            self._set_rate(frame.sample_rate)
        channels = frame.layout.nb_channels
        if channels > self._limits.max_channels:
            raise AudioError(
                ErrorCode.AUDIO_UNSUPPORTED,
                f"has {channels} channels; {self._limits.max_channels} are allowed",
            )
        self._got += frame.samples
        if self._got > self._limits.max_seconds * self._rate:
            raise AudioError(
                ErrorCode.AUDIO_TOO_LONG, f"is longer than {self._limits.max_seconds:g} s"
            )
        self._pending.append(_to_mono(frame))
        self._pending_samples += frame.samples
        if self._pending_samples >= _BLOCK:
            self._resample(last=False)

    def finish(self) -> Clip:
        """The clip; AudioError where there is next to nothing of it."""
        seconds = self._got / max(self._rate, 1)
        if seconds < MIN_SECONDS:
            raise AudioError(
                ErrorCode.AUDIO_EMPTY,
                f"holds {seconds * 1000:.3g} ms of audio; {MIN_SECONDS * 1000:g} are needed",
            )
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
                f"has a sample rate of {rate} Hz; {lowest} to {highest} are allowed",
            )
        self._rate = rate
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


def _to_mono(frame: AudioFrame) -> Clip:
    """The mean of the channels, full scale as 1."""
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
    total = functools.reduce(np.add, (plane.astype(np.float32) for plane in planes))
    return (total - np.float32(zero * channels)) / np.float32(scale * channels)


def _damaged(kind: _Kind, reason: str) -> AudioError:
    return AudioError(
        ErrorCode.AUDIO_UNDECODABLE,
        f"is damaged or cut short ({kind.name}: {reason}); make it anew",
    )


# --- Containers ------------------------------------------------------------------------------

#: Types of the boxes that an MP4 or QuickTime file begins with (ISO 14496-12, 4.2).
_FIRST_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})
#: Boxes that must be whole; behind them there may be anything.
_NEEDED_BOXES = frozenset({b"moov", b"moof", b"mdat"})
_MAX_BOXES = 100_000
_EBML, _SEGMENT = b"\x1aE\xdf\xa3", b"\x18S\x80g"  # RFC 8794, RFC 9559


def _identify(fd: int) -> _Kind | None:
    """The container that FFmpeg must read, by the first bytes of the file; None for others."""
    magic = os.pread(fd, 8, 0)
    if magic[4:8] in _FIRST_BOXES:
        return _MP4
    if magic.startswith(_EBML):
        return _MATROSKA
    frame = os.pread(fd, 2, skip_id3(fd))
    if len(frame) == 2 and frame[0] == 0xFF and frame[1] & 0xF6 == 0xF0:  # ADTS: layer 0
        return _AAC
    return None


def _is_cut(fd: int, kind: _Kind) -> bool:
    """Whether the file ends before its structure says, which FFmpeg plays without a word. What a
    browser records states no length, and a cut of it leaves no trace."""
    size = os.fstat(fd).st_size
    if kind is _MP4:
        return _mp4_end(fd, size) > size
    if kind is _MATROSKA:
        return _matroska_end(fd) > size
    return False


def _mp4_end(fd: int, size: int) -> int:
    """Where the last box ends that must be whole."""
    position = end = 0
    for _ in range(_MAX_BOXES):
        head = os.pread(fd, 16, position)
        length, name = int.from_bytes(head[:4]), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16])
        if len(head) < 8 or length < 8:  # 0 is "to the end of the file"
            break
        position += length
        if name in _NEEDED_BOXES:
            end = position
        if position >= size:
            break
    return end


def _matroska_end(fd: int) -> int:
    """Where the segment ends, which is all of the file but its head; 0 where it does not say."""
    position = 0
    for name in (_EBML, _SEGMENT):
        head = os.pread(fd, 4 + 8, position)
        length, width = _ebml_size(head[4:])
        if not head.startswith(name) or length is None:
            return 0
        position += 4 + width + length
    return position


def _ebml_size(data: bytes) -> tuple[int | None, int]:
    """A size of 1 to 8 bytes (RFC 8794, 4 and 6): (bytes or None for unknown, its own width)."""
    width = 9 - data[0].bit_length() if data else 9
    if width > len(data):
        return None, width
    ones = (1 << 7 * width) - 1
    value = int.from_bytes(data[:width]) & ones
    return (None if value == ones else value), width
