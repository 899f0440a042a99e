"""What the errors of an incumbent and a candidate on the same speech say of the candidate."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from schemas.settings import RolloutSettings
from serve_app.rollout.sequence import ConfidenceSequence


class Verdict(StrEnum):
    """What is to become of a candidate.

    - ``hold``: it cannot be said yet.
    - ``promote``: it is better, or not worse, as the settings ask.
    - ``roll_back``: it is worse by more than the settings allow.
    - ``inconclusive``: the comparison has ended without an answer; a person decides.
    """

    HOLD = "hold"
    PROMOTE = "promote"
    ROLL_BACK = "roll_back"
    INCONCLUSIVE = "inconclusive"


class PairedErrors(msgspec.Struct, kw_only=True):
    """Word errors of both on the same blocks of speech, as sums: small, and fit to be stored.

    WER is pooled, so the candidate's is below ``1 + r`` times the incumbent's where the mean of
    ``candidate - (1 + r) * incumbent`` over the blocks, in errors, is below 0. There is no
    division, so no block without errors or words needs care.

    Attributes:
        excess: that difference with the `max_worse` of the settings for r.
        difference: that difference with 0 for r.
        words: words of the references.
        incumbent: word errors of the incumbent.
        candidate: word errors of the candidate.
    """

    excess: ConfidenceSequence = msgspec.field(default_factory=ConfidenceSequence)
    difference: ConfidenceSequence = msgspec.field(default_factory=ConfidenceSequence)
    words: int = 0
    incumbent: int = 0
    candidate: int = 0

    def add(self, incumbent: int, candidate: int, words: int, settings: RolloutSettings) -> None:
        """Add a block.

        Args:
            incumbent: word errors of the incumbent on it.
            candidate: word errors of the candidate on it.
            words: words of its references.
            settings: the same for all blocks.
        """
        self.excess.add(candidate - (1 + settings.max_worse) * incumbent)
        self.difference.add(candidate - incumbent)
        self.words += words
        self.incumbent += incumbent
        self.candidate += candidate

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return self.difference.n

    def verdict(self, settings: RolloutSettings) -> Verdict:
        """What can be said now; may be asked after every block."""
        if self.blocks < settings.min_blocks:
            return Verdict.HOLD
        alpha, at = settings.error_rate, settings.sharpest_at
        too_bad, not_too_bad = self.excess.bounds(alpha, at)
        _, better = self.difference.bounds(alpha, at)
        if too_bad > 0:
            return Verdict.ROLL_BACK
        if (better if settings.promote_when == "better" else not_too_bad) < 0:
            return Verdict.PROMOTE
        if self.blocks >= settings.max_blocks:
            return Verdict.INCONCLUSIVE
        return Verdict.HOLD
