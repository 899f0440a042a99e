"""Decoding one segment of an open file, within limits.

Decoding is libsndfile's (https://libsndfile.github.io/libsndfile/), but for WAV files of 16 bits
(`pcm`) and ordinary Opus files (`opus`). Resampling is libsoxr's at its "HQ" quality, by blocks:
the memory is that of the clip plus a few blocks, whatever the file holds. All release the GIL.
"""

from __future__ import annotations

import math
import os
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

from schemas.failures import ErrorCode
from schemas.settings import AudioSettings
from serve_app.audio.clip import Clip, Segment
from serve_app.audio.downmix import Downmix
from serve_app.audio.errors import AudioError
from serve_app.audio.formats import is_allowed
from serve_app.audio.header import Container, Header, unsupported
from serve_app.audio.joined import goes_on, refuse_other
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
from serve_app.audio.opus import OpusStream, UnusualError
from serve_app.audio.pcm import PcmStream
from serve_app.audio.resample import resample

#: libsndfile's frame count of a file that does not say how long it is.
_UNKNOWN_FRAMES = 2**63 - 1
#: Seconds decoded and thrown away ahead of a segment, because seeking there is not exact: an MP3
#: or Opus decoder carries state over from earlier frames; in the last page of a Vorbis file
#: libsndfile 1.2.2 lands some milliseconds off (encoders end a page after 8 s at the latest).
_PREROLL_SECONDS = {"MPEG_LAYER_III": 1.0, "OPUS": 1.0, "VORBIS": 10.0}
_SYSTEM_ERROR = 2  # SF_ERR_SYSTEM of sndfile.h


class _SndfileStream(soundfile.SoundFile):
    """A sound file that is read sequentially.

    `SoundFile.read` of a seekable file seeks to where it already is after each block. That costs
    time, breaks FLAC files of unknown length, and in Vorbis and MP3 it is not exact.
    """

    def seekable(self) -> bool:
        return False

    def read(self, frames: int) -> Clip:
        """Up to `frames` frames, shape [frames] or [frames, channels]; fewer at the end only."""
        return np.asarray(super().read(frames, dtype="float32"))

    @property
    def file_rate(self) -> int:
        """Hertz of what was encoded."""
        return int(self.samplerate)


#: Each has a format and a codec by libsndfile's names, `samplerate`, `file_rate`, `channels` and
#: `frames`, and is sought and read.
_Stream = PcmStream | OpusStream | _SndfileStream


class MoreToReadError(Exception):
    """The file goes on where libsndfile stops: files that were joined, or an estimated length."""


def decode(
    fd: int,
    header: Header,
    downmix: Downmix,
    *,
    offset: float,
    duration: float | None,
    sample_rate: int,
    limits: AudioSettings,
) -> Clip:
    """Decode the segment [offset, offset + duration) of the file open at `fd`.

    Adjacent segments share no sample and leave none out. Samples beyond full scale, as lossy
    decoders and resamplers make them, are clipped to [-1, 1].

    Args:
        fd: descriptor of a regular file; read from its start, moved, not closed.
        header: what `read_header` found in it.
        downmix: makes one channel of several.
        offset: in seconds.
        duration: in seconds; None means to the end.
        sample_rate: hertz of the result.
        limits: on seconds (of the segment), channels and sample rate (of the file).

    Raises:
        AudioError: see `AudioLoader.read`; the message does not name the file.
        MoreToReadError: the segment reaches to where libsndfile stops, and the file goes on.
    """
    part = _Part(fd, header, downmix, Segment(offset, duration), sample_rate, limits)
    os.lseek(fd, 0, os.SEEK_SET)
    try:
        with np.errstate(invalid="ignore", over="ignore"):
            if header.pcm is not None:
                return _decoded(PcmStream(fd, header.pcm), part)
            if header.container is Container.OGG:
                try:
                    return _decoded(OpusStream(fd, sample_rate), part)
                except UnusualError:
                    downmix.reset()
            with _SndfileStream(fd, closefd=False) as stream:
                return _decoded(stream, part)
    except soundfile.LibsndfileError as error:
        reason = error.error_string.removeprefix("Error : ").rstrip(".")
        if error.code == _SYSTEM_ERROR:
            raise AudioError(
                ErrorCode.AUDIO_IO, f"could not be read just now: {reason}; it is tried again"
            ) from None
        refuse_other(fd, header)
        raise damaged(header.container, reason) from None


class _Part(NamedTuple):
    """What is decoded, as `decode` is asked for it."""

    fd: int
    header: Header
    downmix: Downmix
    segment: Segment
    sample_rate: int
    limits: AudioSettings


def _decoded(stream: _Stream, part: _Part) -> Clip:
    """The segment, of the file that `stream` reads; see `decode`."""
    (offset, duration), limits = part.segment, part.limits
    _check_stream(stream, limits)
    rate, length = stream.samplerate, max(stream.frames, 0)
    start = round(offset * rate)
    stop = length if duration is None else round((offset + duration) * rate)
    limit = int(limits.max_seconds * rate)
    frames = max(min(stop, length) - start, 0)
    if frames > limit:
        if length != _UNKNOWN_FRAMES:
            raise too_long(f"{frames / rate:.1f} s", limits)
        frames = limit + 1  # one more than allowed shows that there is more

    _skip_to(stream, min(start, length))
    clip, got = _read_mono(stream, part.downmix, frames, part.sample_rate)
    if got > limit:
        raise too_long("longer than allowed", limits)
    if got < frames or stop >= length:  # the end of the file
        _check_whole(stream, part.fd, part.header, frames, got)
    if got < MIN_SECONDS * rate:
        raise empty(offset, got / rate, None if length == _UNKNOWN_FRAMES else length / rate)
    if duration is not None and (stop - start - got) / rate > tolerated(duration):
        raise cut_off(offset, duration, got / rate)
    return to_full_scale(clip)


def _check_stream(stream: _Stream, limits: AudioSettings) -> None:
    container, codec = stream.format, stream.subtype
    if not is_allowed(container, codec):
        raise unsupported(f"is {container} of {codec}")
    if stream.channels > limits.max_channels:
        raise AudioError(
            ErrorCode.AUDIO_UNSUPPORTED,
            f"has {stream.channels} channels; `audio.max_channels` is {limits.max_channels}; "
            "mix it down to one",
        )
    if not limits.min_sample_rate <= stream.file_rate <= limits.max_sample_rate:
        raise AudioError(
            ErrorCode.AUDIO_UNSUPPORTED,
            f"has a sample rate of {stream.file_rate} Hz; `audio.min_sample_rate` and "
            f"`audio.max_sample_rate` allow {limits.min_sample_rate} to {limits.max_sample_rate}; "
            "resample it",
        )


def _skip_to(stream: _Stream, start: int) -> None:
    """Move to frame `start`, exactly."""
    if start == 0:
        return
    preroll = round(_PREROLL_SECONDS.get(stream.subtype, 0.0) * stream.samplerate)
    if stream.frames == _UNKNOWN_FRAMES:  # seeking past the end would be an error of its own
        preroll = start
    position = max(start - preroll, 0)
    if position:
        stream.seek(position)
    while position < start:
        block = stream.read(min(BLOCK, start - position))
        if not len(block):
            break
        position += len(block)


def _read_mono(
    stream: _Stream, downmix: Downmix, frames: int, sample_rate: int
) -> tuple[Clip, int]:
    """Up to `frames` frames as mono at `sample_rate`, and how many of them there were."""
    if frames > BLOCK:
        return _read_blocks(stream, downmix, frames, sample_rate)
    block = stream.read(frames)
    return resample(downmix.mix(_channels(block)), stream.samplerate, sample_rate), len(block)


def _read_blocks(
    stream: _Stream, downmix: Downmix, frames: int, sample_rate: int
) -> tuple[Clip, int]:
    """`_read_mono` for long audio: the same samples, in the memory of the clip and a block."""
    rate = stream.samplerate
    resampler = None
    if rate != sample_rate:
        resampler = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
    clip = np.empty(math.ceil(frames * sample_rate / rate), np.float32)
    got = filled = 0
    ended = False
    while not ended:
        wanted = min(BLOCK, frames - got)
        block = stream.read(wanted)
        got += len(block)
        ended = len(block) < wanted or got == frames
        mono = downmix.mix(_channels(block))
        if resampler is not None:
            mono = resampler.resample_chunk(mono, last=ended)
        clip[filled : filled + len(mono)] = mono
        filled += len(mono)
    clip.resize(filled, refcheck=False)  # a header may announce more frames than there are
    return clip, got


def _channels(block: Clip) -> list[Clip]:
    """The channels of `block`, of shape [frames] or [frames, channels]."""
    return [block] if block.ndim == 1 else list(block.T)


def _check_whole(stream: _Stream, fd: int, header: Header, frames: int, got: int) -> None:
    """Refuse a file that ends before it should, or goes on where libsndfile stops."""
    rate, short = stream.samplerate, False
    if header.length_known and stream.frames != _UNKNOWN_FRAMES:
        short = (frames - got) / rate > tolerated(frames / rate)
    if goes_on(fd, header):
        raise MoreToReadError
    if header.cut or short:
        raise damaged(header.container, "it ends before its header says")
