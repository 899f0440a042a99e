"""What decoded audio must be, whichever library has decoded it, and the errors where it is not."""

from __future__ import annotations

import math

import numpy as np

from schemas.failures import ErrorCode
from schemas.settings import AudioSettings
from serve_app.audio.clip import Clip
from serve_app.audio.errors import AudioError

#: Shorter audio holds no speech; the feature window of the models alone is 25 ms.
MIN_SECONDS = 0.01
#: Frames that are decoded, or collected, before they are resampled: 4 s at 16 kHz, so that most
#: clips need no second block.
BLOCK = 65_536
#: Float samples above this (24 dB over full scale) are no loud speech but another scale.
MAX_PEAK = 16.0


def tolerated(seconds: float) -> float:
    """Seconds of `seconds` that may be missing: 5%, but at least 0.1 s and at most 0.5 s.

    Durations in manifests are rounded, and those of lossy files are off by a frame or two.
    """
    return min(max(0.05 * seconds, 0.1), 0.5)


def to_full_scale(clip: Clip) -> Clip:
    """`clip` limited to full scale; samples that are not finite, or far too large, are refused."""
    low, high = clip.min(), clip.max()  # a NaN anywhere makes both NaN
    if low >= -1 and high <= 1:
        return clip
    peak = float(max(-low, high))
    if not math.isfinite(peak):
        raise AudioError(
            ErrorCode.AUDIO_UNDECODABLE,
            "holds samples that are no numbers (NaN or infinity); create the file again",
        )
    if peak > MAX_PEAK:
        raise AudioError(
            ErrorCode.AUDIO_UNSUPPORTED,
            f"holds float samples of up to {peak:.3g} where full scale is 1; scale them down",
        )
    return np.clip(clip, -1, 1, out=clip)


def too_long(what: str, limits: AudioSettings) -> AudioError:
    """The error of a segment of more than `max_seconds`; `what` says how long it is."""
    return AudioError(
        ErrorCode.AUDIO_TOO_LONG,
        f"is {what}, `audio.max_seconds` is {limits.max_seconds:g}; cut it, or give `offset` and "
        "`duration` of a part",
    )


def cut_off(offset: float, duration: float, seconds: float) -> AudioError:
    """The error of a segment of which only `seconds` are there."""
    return AudioError(
        ErrorCode.AUDIO_UNDECODABLE,
        f"ends {seconds:.2f} s after `offset` ({offset:g}), but `duration` is {duration:g}: "
        "it was cut short, or the record is wrong",
    )


def empty(offset: float, seconds: float, total: float | None) -> AudioError:
    """The error of a segment of less than `MIN_SECONDS`.

    Args:
        offset: where it starts, in seconds.
        seconds: how long it is.
        total: how long the file is, in seconds; None if it does not say.
    """
    if seconds == 0 and total is None:
        reason = f"ends before `offset` ({offset:g})" if offset > 0 else "holds no audio"
    elif seconds == 0 and offset > 0:
        reason = f"ends at {total:.2f} s, before `offset` ({offset:g})"
    else:
        reason = f"holds {seconds * 1000:.3g} ms of audio there; {MIN_SECONDS * 1000:g} are needed"
    return AudioError(ErrorCode.AUDIO_EMPTY, reason)


def damaged(container: str, reason: str) -> AudioError:
    """The error of a file that is not whole."""
    return AudioError(
        ErrorCode.AUDIO_UNDECODABLE,
        f"is damaged or cut short ({container}: {reason}); create the file again",
    )
