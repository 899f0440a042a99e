"""What the audio itself says: how far the speech is above the noise, and how wide its band is."""

from __future__ import annotations

import numpy as np

from serve_app.engines.base import Clip

_FRAME_S = 0.02
#: Share of the frames that are the quietest: taken for the noise alone.
_NOISE_SHARE = 5
_FLOOR = 1e-10  # mean power of 16-bit rounding noise
#: A band this far below the loudest one holds no speech, in dB.
_SILENT_DB = 55.0
_WINDOW = 512


def measure(clip: Clip, sample_rate: int) -> dict[str, float]:
    """All measures of `clip`, float32 mono at `sample_rate` Hz; about 0.2 ms for 5 s.

    Returns:
        `audio.snr_db` and `audio.bandwidth_hz`, see `snr_db` and `bandwidth_hz`.
    """
    return {
        "audio.snr_db": round(snr_db(clip, sample_rate), 1),
        "audio.bandwidth_hz": round(bandwidth_hz(clip, sample_rate)),
    }


def snr_db(clip: Clip, sample_rate: int) -> float:
    """Signal-to-noise ratio of mean powers, in dB, at most 90: an estimate.

    The noise is the power that 95% of the 20 ms frames exceed, as if nobody spoke in the others;
    the signal is the mean power less that. On the demo's speech with white or pink noise added at
    5 to 40 dB its median is within 1.5 dB of the truth. Voices as noise have pauses too: babble at
    0 dB reads as 8, at 20 dB as 22.
    """
    length = int(_FRAME_S * sample_rate)
    frames = clip[: len(clip) // length * length].reshape(-1, length)
    if not len(frames):
        return 0.0
    powers = np.mean(np.square(frames), axis=1)
    noise = float(np.percentile(powers, _NOISE_SHARE)) + _FLOOR
    signal = max(float(np.mean(powers)) - noise, 1e-3 * noise)
    return float(10 * np.log10(signal / noise))


def bandwidth_hz(clip: Clip, sample_rate: int) -> float:
    """Where the speech ends, in Hz: the highest frequency within 55 dB of the loudest.

    Of the long-term mean spectrum, smoothed over five bins of a 512-point transform. Telephone
    speech reads as less than 4,000 whatever rate it is stored at, digital silence as 0.
    """
    padded = np.pad(clip, (0, max(0, _WINDOW - len(clip))))
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[:: _WINDOW // 2]
    spectrum = np.fft.rfft(windows * np.hanning(_WINDOW).astype(np.float32), axis=1)
    power = np.mean(np.square(np.abs(spectrum)), axis=0)
    if not power.any():
        return 0.0
    level = 10 * np.log10(np.convolve(power, np.ones(5) / 5, "same") + 1e-12)
    loud = np.flatnonzero(level > level.max() - _SILENT_DB)
    return float(loud[-1] * sample_rate / _WINDOW)
