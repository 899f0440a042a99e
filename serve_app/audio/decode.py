"""From an open file to the samples of one segment, within the limits.

Decoding is libsndfile's (https://libsndfile.github.io/libsndfile/), resampling libsoxr's at its
"HQ" quality, by blocks: the memory is that of the clip plus a few blocks, whatever the file holds.
Both release the GIL.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from schemas.failures import ErrorCode
from schemas.settings import AudioSettings
from serve_app.audio.errors import AudioError
from serve_app.audio.formats import Container, Header, is_allowed, mp3_goes_on
from serve_app.audio.resample import resample
from serve_app.engines.base import Clip

#: Shorter audio holds no speech; the feature window of the models alone is 25 ms.
MIN_SECONDS = 0.01
#: Float samples above this (24 dB over full scale) are no loud speech but another scale.
MAX_PEAK = 16.0
#: Frames decoded at a time: 4 s at 16 kHz, so that most clips need no second block.
_BLOCK = 65_536
#: libsndfile's frame count of a file that does not say how long it is.
_UNKNOWN_FRAMES = 2**63 - 1
#: Seconds decoded and thrown away ahead of a segment, because seeking there is not exact: an MP3
#: or Opus decoder carries state over from earlier frames; in the last page of a Vorbis file
#: libsndfile 1.2.2 lands some milliseconds off (encoders end a page after 8 s at the latest).
_PREROLL_SECONDS = {"MPEG_LAYER_III": 1.0, "OPUS": 1.0, "VORBIS": 10.0}
_SYSTEM_ERROR = 2  # SF_ERR_SYSTEM of sndfile.h


class _Stream(soundfile.SoundFile):
    """A sound file that is read straight on.

    `SoundFile.read` of a seekable file seeks to where it already is after each block. That costs
    time, breaks FLAC files of unknown length, and in Vorbis and MP3 it is not exact.
    """

    def seekable(self) -> bool:
        return False


def decode(
    fd: int,
    header: Header,
    *,
    offset: float,
    duration: float | None,
    sample_rate: int,
    limits: AudioSettings,
) -> Clip:
    """Decode the segment [offset, offset + duration) of the file open at `fd`.

    Adjacent segments share no sample and leave none out. Channels are averaged. Samples beyond
    full scale, as lossy decoders and resamplers make them, are clipped to [-1, 1].

    Args:
        fd: descriptor of a regular file, at its start; moved, not closed.
        header: what `read_header` found in it.
        offset: in seconds.
        duration: in seconds; None means to the end.
        sample_rate: hertz of the result.
        limits: on seconds (of the segment), channels and sample rate (of the file).

    Raises:
        AudioError: see `AudioLoader.load`; the message does not name the file.
    """
    try:
        with _Stream(fd, closefd=False) as stream, np.errstate(invalid="ignore", over="ignore"):
            _check_stream(stream, limits)
            rate, length = stream.samplerate, max(stream.frames, 0)
            start = round(offset * rate)
            stop = length if duration is None else round((offset + duration) * rate)
            limit = int(limits.max_seconds * rate)
            frames = max(min(stop, length) - start, 0)
            if frames > limit:
                if length != _UNKNOWN_FRAMES:
                    raise _too_long(f"{frames / rate:.1f} s", limits)
                frames = limit + 1  # one more than allowed shows that there is more

            _skip_to(stream, min(start, length))
            clip, got = _read_mono(stream, frames, sample_rate)
            if got > limit:
                raise _too_long("longer than allowed", limits)
            if got < frames or stop >= length:  # the end of the file
                _check_whole(stream, fd, header, frames, got)
            if got < MIN_SECONDS * rate:
                raise _empty(stream, offset, got)
            if duration is not None and (stop - start - got) / rate > _tolerated(duration):
                raise _cut_off(offset, duration, got / rate)
            return to_full_scale(clip)
    except soundfile.LibsndfileError as error:
        reason = error.error_string.removeprefix("Error : ").rstrip(".")
        if error.code == _SYSTEM_ERROR:
            raise AudioError(
                ErrorCode.AUDIO_IO, f"could not be read just now: {reason}; it is tried again"
            ) from None
        raise AudioError(
            ErrorCode.AUDIO_UNDECODABLE,
            f"is damaged or cut short ({header.container}: {reason}); make it anew",
        ) from None


def _check_stream(stream: _Stream, limits: AudioSettings) -> None:
    container, codec = stream.format, stream.subtype
    if not is_allowed(container, codec):
        raise AudioError(ErrorCode.AUDIO_UNSUPPORTED, f"is {container} of {codec}; convert it")
    if stream.channels > limits.max_channels:
        raise AudioError(
            ErrorCode.AUDIO_UNSUPPORTED,
            f"has {stream.channels} channels; `audio.max_channels` is {limits.max_channels}",
        )
    if not limits.min_sample_rate <= stream.samplerate <= limits.max_sample_rate:
        raise AudioError(
            ErrorCode.AUDIO_UNSUPPORTED,
            f"has a sample rate of {stream.samplerate} Hz; `audio.min_sample_rate` and "
            f"`audio.max_sample_rate` allow {limits.min_sample_rate} to {limits.max_sample_rate}",
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
        block = stream.read(min(_BLOCK, start - position), dtype="float32")
        if not len(block):
            break
        position += len(block)


def _read_mono(stream: _Stream, frames: int, sample_rate: int) -> tuple[Clip, int]:
    """Up to `frames` frames as mono at `sample_rate`, and how many of them there were."""
    if frames > _BLOCK:
        return _read_blocks(stream, frames, sample_rate)
    block = stream.read(frames, dtype="float32")
    return resample(_downmix(block), stream.samplerate, sample_rate), len(block)


def _read_blocks(stream: _Stream, frames: int, sample_rate: int) -> tuple[Clip, int]:
    """`_read_mono` for long audio: the same samples, in the memory of the clip and a block."""
    rate = stream.samplerate
    resampler = None
    if rate != sample_rate:
        resampler = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
    clip = np.empty(math.ceil(frames * sample_rate / rate), np.float32)
    got = filled = 0
    ended = False
    while not ended:
        wanted = min(_BLOCK, frames - got)
        block = stream.read(wanted, dtype="float32")
        got += len(block)
        ended = len(block) < wanted or got == frames
        mono = _downmix(block)
        if resampler is not None:
            mono = resampler.resample_chunk(mono, last=ended)
        clip[filled : filled + len(mono)] = mono
        filled += len(mono)
    clip.resize(filled, refcheck=False)  # gives back what a broken promise left over
    return clip, got


def _downmix(block: npt.NDArray[np.float32]) -> Clip:
    """The mean of the channels; `block` has the shape [frames] or [frames, channels]."""
    if block.ndim == 1:
        return block
    return functools.reduce(np.add, block.T) / np.float32(block.shape[1])


def _check_whole(stream: _Stream, fd: int, header: Header, frames: int, got: int) -> None:
    """Refuse a file that ends before it should, or goes on where libsndfile stops."""
    rate, short = stream.samplerate, False
    if header.length_known and stream.frames != _UNKNOWN_FRAMES:
        short = (frames - got) / rate > _tolerated(frames / rate)
    if header.cut or short:
        raise AudioError(
            ErrorCode.AUDIO_UNDECODABLE,
            f"is damaged or cut short ({header.container}: it ends before its header says); "
            "make it anew",
        )
    if header.container is Container.MP3 and mp3_goes_on(fd, header):
        raise AudioError(
            ErrorCode.AUDIO_UNSUPPORTED,
            "is an MP3 that does not state its length (a variable bit rate without Xing header, or "
            "files joined), so its end would be lost; rewrite it: ffmpeg -i old.mp3 new.mp3",
        )


def _tolerated(seconds: float) -> float:
    """How much of `seconds` may be missing: a twentieth, but 0.1 s at least and 0.5 s at most.
    Durations in manifests are rounded, and those of lossy files off by a frame or two."""
    return min(max(0.05 * seconds, 0.1), 0.5)


def to_full_scale(clip: Clip) -> Clip:
    low, high = clip.min(), clip.max()  # a NaN anywhere makes both NaN
    if low >= -1 and high <= 1:
        return clip
    peak = float(max(-low, high))
    if not math.isfinite(peak):
        raise AudioError(
            ErrorCode.AUDIO_UNDECODABLE,
            "holds samples that are no numbers (NaN or infinity); make it anew",
        )
    if peak > MAX_PEAK:
        raise AudioError(
            ErrorCode.AUDIO_UNSUPPORTED,
            f"holds float samples of up to {peak:.3g} where full scale is 1; scale them down",
        )
    return np.clip(clip, -1, 1, out=clip)


def _too_long(what: str, limits: AudioSettings) -> AudioError:
    return AudioError(
        ErrorCode.AUDIO_TOO_LONG,
        f"is {what}, `audio.max_seconds` is {limits.max_seconds:g}; cut it, or give `offset` and "
        "`duration` of a part",
    )


def _cut_off(offset: float, duration: float, seconds: float) -> AudioError:
    return AudioError(
        ErrorCode.AUDIO_UNDECODABLE,
        f"ends {seconds:.2f} s after `offset` ({offset:g}), but `duration` is {duration:g}: "
        "it was cut short, or the record is wrong",
    )


def _empty(stream: _Stream, offset: float, got: int) -> AudioError:
    rate = stream.samplerate
    if got == 0 and offset > 0:
        reason = f"ends at {stream.frames / rate:.2f} s, before `offset` ({offset:g})"
    else:
        reason = (
            f"holds {got / rate * 1000:.3g} ms of audio there; {MIN_SECONDS * 1000:g} are needed"
        )
    return AudioError(ErrorCode.AUDIO_EMPTY, reason)
