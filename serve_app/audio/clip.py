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
Measures = Mapping[str, float]

#: The measure that says which channel was taken, from 1, where mixing would have cancelled them.
CHANNEL = "audio.channel"


class Recording(NamedTuple):
    """Decoded audio, and how it came to be mono.

    Attributes:
        clip: the samples.
        channel: number of the channel, from 1, that was taken because the channels of the file
            cancel each other; None if all were mixed, or there is only one.
    """

    clip: Clip
    channel: int | None = None

    @property
    def measures(self) -> dict[str, float]:
        """What is to be said of it beside the measures of its samples."""
        return {} if self.channel is None else {CHANNEL: float(self.channel)}
