"""Real audio files for the tests: made by libsndfile, or byte by byte where it would not."""

from __future__ import annotations

import struct
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

Samples = npt.NDArray[np.float32]


def sweep(seconds: float, rate: int = 16_000, channels: int = 1) -> Samples:
    """A warbling tone in a little noise: no two stretches of it are alike."""
    mono = _sweep(seconds, rate).copy()
    return mono if channels == 1 else np.stack([mono] * channels, axis=1)


@cache
def _sweep(seconds: float, rate: int) -> Samples:
    time = np.arange(round(seconds * rate)) / rate
    tone = 0.3 * np.sin(2 * np.pi * (200 * time + 30 * np.sin(3 * time) + 20 * time**2))
    noise = np.random.default_rng(7).normal(0, 0.01, len(time))
    sound: Samples = (tone * (0.6 + 0.4 * np.sin(11 * time)) + noise).astype(np.float32)
    return sound


def write(
    path: Path,
    samples: Samples,
    rate: int = 16_000,
    container: str = "WAV",
    codec: str | None = None,
    **options: object,
) -> Path:
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with soundfile.SoundFile(
        path, "w", rate, channels, subtype=codec, format=container, **options
    ) as file:
        for start in range(0, len(samples), 4_000):  # its Vorbis encoder overflows on long writes
            file.write(samples[start : start + 4_000])
    return path


def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
    """A RIFF chunk; `size` is what it claims, where that is not the truth."""
    return name + struct.pack("<I", len(body) if size is None else size) + body


def wav(
    data: bytes,
    *,
    codec: int = 1,
    channels: int = 1,
    rate: int = 16_000,
    bits: int = 16,
    data_size: int | None = None,
    before: bytes = b"",
    extension: bytes = b"",
) -> bytes:
    """A WAV file that says what it is told to say; `before` stands ahead of its format."""
    align = max(channels * bits // 8, 1)
    byte_rate = rate * align % 2**32
    head = struct.pack("<HHIIHH", codec, channels, rate, byte_rate, align, bits) + extension
    body = b"WAVE" + before + chunk(b"fmt ", head) + chunk(b"data", data, data_size)
    return chunk(b"RIFF", body)


def pcm_16(samples: Samples) -> bytes:
    return (samples * 32_767).astype("<i2").tobytes()


def without_length(flac: bytes) -> bytes:
    """The FLAC file as an encoder writes it to a pipe: its total of samples is 0, "unknown"."""
    return with_flac_total(flac, 0)


def with_flac_total(flac: bytes, total: int) -> bytes:
    """The FLAC file with another total of samples: 36 bits of its STREAMINFO (RFC 9639, 8.2)."""
    at = 4 + 4 + 13
    high = flac[at] & 0xF0 | total >> 32
    return flac[:at] + bytes([high]) + struct.pack(">I", total & 0xFFFF_FFFF) + flac[at + 5 :]


def without_xing(mp3: bytes) -> bytes:
    """The MP3 file without its first frame, which holds no audio but the length."""
    assert b"Xing" in mp3[:64] or b"Info" in mp3[:64]
    return mp3[mp3.index(mp3[:2], 100) :]


def likeness(clip: Samples, other: Samples) -> float:
    """Correlation of two clips, -1 to 1, at the shift where it is highest."""
    size = len(clip) + len(other)
    product = np.fft.rfft(clip, size) * np.conj(np.fft.rfft(other, size))
    return float(np.fft.irfft(product, size).max() / np.linalg.norm(clip) / np.linalg.norm(other))
