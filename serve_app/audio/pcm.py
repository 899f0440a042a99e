"""The 16-bit samples of a WAV file, as they stand in it."""

from __future__ import annotations

import os

import numpy as np

from serve_app.audio.clip import Clip
from serve_app.audio.header import Pcm16

_SAMPLE = np.dtype("<i2")
_FULL_SCALE = np.float32(1 / 32768)


class PcmStream:
    """Reads the samples of the file open at `fd`, with what `soundfile.SoundFile` has of it.

    The samples are those that libsndfile reads, in a third of the time.

    Args:
        fd: descriptor of a regular file; not moved.
        samples: where they are in it.

    Attributes:
        samplerate: hertz.
        file_rate: the same.
        channels: how many there are.
        frames: how many there are.
    """

    format, subtype = "WAV", "PCM_16"

    def __init__(self, fd: int, samples: Pcm16) -> None:
        self._fd = fd
        self._start = samples.start
        self.samplerate = self.file_rate = samples.rate
        self.channels = samples.channels
        self.frames = samples.frames
        self._position = 0

    def seek(self, position: int) -> None:
        """Move to the frame `position`."""
        self._position = position

    def read(self, frames: int) -> Clip:
        """Up to `frames` frames, shape [frames] or [frames, channels]; fewer at the end only.

        Raises:
            OSError: reading failed.
        """
        size = _SAMPLE.itemsize * self.channels
        count = min(frames, self.frames - self._position)
        data = os.pread(self._fd, count * size, self._start + self._position * size)
        found = np.frombuffer(data, _SAMPLE, len(data) // size * self.channels)
        self._position += len(found) // self.channels
        clip = np.multiply(found, _FULL_SCALE, dtype=np.float32)
        return clip if self.channels == 1 else clip.reshape(-1, self.channels)
