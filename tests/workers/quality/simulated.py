"""Streams of observations with the spread of real ones, drawn from a seed."""

from __future__ import annotations

from typing import Any

import numpy as np

from workers.quality.observations import Observation

Numbers = Any


def observations(
    seed: int,
    records: int,
    *,
    wer: float = 0.08,
    confidence: float = 0.92,
    words_per_second: float = 2.6,
    empty: float = 0.004,
    snr_db: float = 22.0,
    references: bool = True,
    version: str = "1",
    start: float = 0.0,
) -> list[Observation]:
    """A model's records, one a second.

    Word errors are those of an utterance of about ten words whose own error rate varies (a beta
    distribution, so that a few utterances have most of the errors), and confidences fall with them.
    """
    rng = np.random.default_rng([seed, round(1e6 * wer), round(start)])
    words = rng.poisson(9, records) + 1
    hard = rng.beta(4 * wer, 4 * (1 - wer), records)
    errors = rng.binomial(words, hard)
    sure = np.clip(confidence - 0.3 * (hard - wer) + rng.normal(0, 0.04, records), 0, 1)
    seconds = words / rng.normal(words_per_second, 0.5, records).clip(1, 5)
    silent = rng.random(records) < empty
    noise = rng.normal(snr_db, 6, records)
    level = rng.normal(-24, 4, records)
    found = []
    for i in range(records):
        values = {
            "confidence": (float(sure[i]), 1.0),
            "empty": (float(silent[i]), 1.0),
            "repeating": (0.0, 1.0),
            "words_per_second": (float(words[i]), float(seconds[i])),
            "seconds": (float(seconds[i]), 1.0),
            "snr_db": (float(noise[i]), 1.0),
            "level_dbfs": (float(level[i]), 1.0),
        }
        if references:
            values["wer"] = (float(errors[i]), float(words[i]))
        found.append(
            Observation(
                time=start + i, model="general", domain="calls", version=version, values=values
            )
        )
    return found
