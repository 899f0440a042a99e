"""Measures of the audio itself: level, signal-to-noise ratio, bandwidth, clipping.

Cheap enough for every record: about 0.15 CPU-ms for 3.5 s.
"""

from __future__ import annotations

import numpy as np
import scipy.fft

from schemas.settings import SPEECH_SHARE
from serve_app.audio.clip import Clip
from serve_app.audio.voice_activity import speech_share

_FRAME_S = 0.02
#: Share of the frames, the quietest ones, that are taken to be noise without speech.
_NOISE_SHARE = 0.05
_FLOOR = 1e-10  # mean power of 16-bit rounding noise
#: A band this far below the loudest one holds no speech, in dB.
_SILENT_DB = 55.0
_WINDOW = 512
#: The spectrum is averaged over at least this many windows, evenly spaced; 1.3 s are enough to find
#: the bandwidth.
_MIN_WINDOWS = 40
_HANN = np.hanning(_WINDOW).astype(np.float32)
#: A sample at 16-bit full scale, or one step below it.
_FULL_SCALE = 32766 / 32768


def measure(clip: Clip, sample_rate: int, *, speech: bool = False) -> dict[str, float]:
    """All measures of `clip`, float32 mono at `sample_rate` Hz, by the names that rules use.

    Args:
        clip: the audio.
        sample_rate: in hertz.
        speech: whether the share of speech is measured too; it costs as much as a small model.

    Returns:
        `audio.seconds` (duration); `audio.snr_db`, `audio.bandwidth_hz`, `audio.level_dbfs` and
        `audio.clipping`, see the functions of those names; and `audio.speech_share` if `speech`.
    """
    found = {
        "audio.seconds": round(len(clip) / sample_rate, 3),
        "audio.snr_db": round(snr_db(clip, sample_rate), 1),
        "audio.bandwidth_hz": round(bandwidth_hz(clip, sample_rate)),
        "audio.level_dbfs": round(level_dbfs(clip), 1),
        "audio.clipping": round(clipping(clip), 5),
    }
    if speech:
        found[SPEECH_SHARE] = round(speech_share(clip, sample_rate), 3)
    return found


def snr_db(clip: Clip, sample_rate: int) -> float:
    """Signal-to-noise ratio of mean powers, in dB, -30 to 90: an estimate.

    The noise is the power that 95% of the 20 ms frames exceed, as if nobody spoke in the others;
    the signal is the mean power less that. On the demo's speech with white or pink noise added at
    5 to 40 dB its median is within 1.5 dB of the truth. Voices as noise have pauses too: babble at
    0 dB reads as 8, at 20 dB as 22.
    """
    length = int(_FRAME_S * sample_rate)
    frames = clip[: len(clip) // length * length].reshape(-1, length)
    if not len(frames):
        return 0.0
    powers = np.einsum("ij,ij->i", frames, frames) / length
    rank = int(_NOISE_SHARE * len(powers))
    noise = float(np.partition(powers, rank)[rank]) + _FLOOR
    signal = max(float(np.mean(powers)) - noise, 1e-3 * noise)
    return float(10 * np.log10(signal / noise))


def bandwidth_hz(clip: Clip, sample_rate: int) -> float:
    """Where the speech ends, in Hz: the highest frequency within 55 dB of the loudest.

    Of the long-term mean spectrum, smoothed over five bins of a 512-point transform. Telephone
    speech reads as less than 4,000 whatever rate it is stored at, digital silence as 0.
    """
    short = _WINDOW - len(clip)
    padded = np.pad(clip, (0, short)) if short > 0 else clip
    windows = padded[: len(padded) // _WINDOW * _WINDOW].reshape(-1, _WINDOW)
    windows = windows[:: max(1, len(windows) // _MIN_WINDOWS)]
    # real and imaginary parts by turns
    parts = scipy.fft.rfft(windows * _HANN, axis=1).view(np.float32)
    squares = np.einsum("ij,ij->j", parts, parts)
    power = squares[::2] + squares[1::2]
    smooth = np.convolve(power, np.ones(5) / 5, "same")
    loud = np.flatnonzero(smooth > smooth.max() * 10 ** (-_SILENT_DB / 10))
    return float(loud[-1] * sample_rate / _WINDOW) if len(loud) else 0.0


def level_dbfs(clip: Clip) -> float:
    """Root mean square in dB of full scale, at least -100: a sine at full scale reads as -3."""
    power = float(np.dot(clip, clip)) / max(1, len(clip))
    return float(10 * np.log10(power + _FLOOR))


def clipping(clip: Clip) -> float:
    """Share of the samples at full scale, 0 to 1. A few in a thousand are audible."""
    if not len(clip) or max(-clip.min(), clip.max()) < _FULL_SCALE:  # as most are
        return 0.0
    return float(np.count_nonzero(np.abs(clip) >= _FULL_SCALE)) / len(clip)
