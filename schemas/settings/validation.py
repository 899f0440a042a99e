"""The section `validation`: what a model must achieve in `chorus validate`."""

from __future__ import annotations

from typing import Annotated

from schemas.settings.types import NonNegativeFloat, PositiveFloat, PositiveInt, Strict
from schemas.settings.values import read_by
from schemas.shares import percent_of

#: A number of percent; `25%` is 25.
Percent = Annotated[float, read_by(percent_of, ge=0)]


class ValidationSettings(Strict):
    """What a model must achieve in `chorus validate`; a limit that is not given is not checked.

    Attributes:
        max_wer: highest word error rate, pooled over the test set, in percent.
        max_cer: highest character error rate, pooled over the test set, in percent.
        max_failed: largest share of utterances without a text, in percent.
        min_rtfx: lowest speed: seconds of audio per second of work.
        max_slice_wer: highest word error rate in percent by slice: `short`, `long`, `noisy`,
            `telephone`, or `key=value` for a key of the manifest.
        max_degradation: most percentage points that a stress test may add to the word error rate,
            by stress test: `noise at 10 dB`, `telephone band`, ...
        max_wer_increase: most percentage points that the word error rate may be above that of the
            model of `--baseline`.
        min_speed_ratio: lowest speed as a part of the speed of the model of `--baseline`.
        min_words: fewest reference words of a slice or stress test that is judged; with fewer, its
            limit counts as not met.
    """

    max_wer: Percent | None = None
    max_cer: Percent | None = None
    max_failed: Percent | None = None
    min_rtfx: PositiveFloat | None = None
    max_slice_wer: dict[str, Percent] = {}
    max_degradation: dict[str, NonNegativeFloat] = {}
    max_wer_increase: NonNegativeFloat = 5.0
    min_speed_ratio: PositiveFloat = 0.5
    min_words: PositiveInt = 50
