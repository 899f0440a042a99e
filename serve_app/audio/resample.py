"""Conversion of the sample rate."""

from __future__ import annotations

import numpy as np
import soxr

from serve_app.audio.clip import Clip


def resample(clip: Clip, source: int, target: int) -> Clip:
    """`clip`, shape [samples], converted from `source` to `target` Hz; itself if they are equal."""
    if source == target:
        return clip
    return np.asarray(soxr.resample(clip, source, target, quality="HQ"), np.float32)
