"""Long audio with words at known times."""

from __future__ import annotations

import numpy as np

from schemas.transcript import Word
from serve_app.audio.clip import Clip
from tests.serve_app.http.conftest import (
    RATE,
)

#: Starts and ends of beeps in 21.5 s, with pauses in which audio can be cut.
BEEPS = [(round(0.37 + 1.013 * n, 3), round(0.62 + 1.013 * n, 3)) for n in range(20)]


def beeping() -> Clip:
    clip = np.zeros(int(21.5 * RATE), np.float32)
    for start, end in BEEPS:
        clip[round(start * RATE) : round(end * RATE)] = 0.5
    return clip


def hear_beeps(clip: Clip) -> list[Word]:
    """A word for each, exactly where it is."""
    edges = np.flatnonzero(np.diff(clip > 0.25, prepend=False, append=False)) / RATE
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return [Word(f"beep{n}", float(start), float(end), 0.5) for n, (start, end) in enumerate(pairs)]
