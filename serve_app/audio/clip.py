"""The types of decoded audio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

#: Mono audio, float32 in [-1, 1], shape [samples].
Clip = npt.NDArray[np.float32]

#: Hertz that audio is decoded at, once for all models; a model of another rate resamples.
SAMPLE_RATE = 16_000

#: What was measured of a clip, by the names in `schemas.settings.MEASURES`.
Measures = Mapping[str, float | str]

#: The measure that says which channel was taken, from 0, where not all were mixed.
CHANNEL = "audio.channel"
#: The measures of the channels of the file.
CHANNELS, SIMILARITY = "audio.channels", "audio.channel_similarity"


class Segment(NamedTuple):
    """A part of a recording.

    Attributes:
        offset: where it starts, in seconds.
        duration: how long it is, in seconds; None means to the end.
    """

    offset: float = 0.0
    duration: float | None = None


class Recording(NamedTuple):
    """Decoded audio, and how it came to be mono.

    Attributes:
        clip: the samples.
        channel: number of the channel, from 0, that was taken: it was asked for, or the channels of
            the file cancel each other; None if all were mixed.
        channels: how many the file has.
        similarity: of the channels, see `serve_app.audio.downmix.Downmix.similarity`; None where
            there is only one.
    """

    clip: Clip
    channel: int | None = None
    channels: int = 1
    similarity: float | None = None

    @property
    def measures(self) -> dict[str, float]:
        """What is to be said of it beside the measures of its samples."""
        found = {CHANNELS: float(self.channels)}
        if self.similarity is not None:
            found[SIMILARITY] = self.similarity
        if self.channel is not None:
            found[CHANNEL] = float(self.channel)
        return found

    @property
    def all_equal(self) -> bool:
        """Whether the file has several channels and all hold the same, or two the opposite."""
        return self.similarity in (1.0, -1.0)
