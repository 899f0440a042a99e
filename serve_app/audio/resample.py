"""From one sample rate to another."""

from __future__ import annotations

import numpy as np
import soxr

from serve_app.engines.base import Clip


def resample(clip: Clip, source: int, target: int) -> Clip:
    """`clip`, float32 [samples] at `source` Hz, at `target` Hz; itself where they are the same."""
    if source == target:
        return clip
    return np.asarray(soxr.resample(clip, source, target, quality="HQ"), np.float32)
