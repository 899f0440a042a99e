"""What has been observed of an incumbent and a candidate, and what it says."""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.settings import RolloutSettings
from serve_app.rollout.arms import digest
from serve_app.rollout.sequence import ConfidenceSequence
from serve_app.rollout.verdict import PairedErrors, Verdict
from serve_app.scoring.wer import count_errors

#: Records that are known as observed: the last ones. Streams repeat what is recent.
_KNOWN = 50_000
#: Word errors, clips without an answer, slow clips: each may be wrong with a third of the
#: probability that the settings allow (Bonferroni).
_QUESTIONS = 3

Version = Literal["incumbent", "candidate"]


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What a version made of a clip.

    Attributes:
        text: by the text rules of the settings; None if there was no answer.
        failure: the error code of the reason.
        outage: where calls failed as a whole, a name that those of the same cause have in common.
        seconds: in the model, waiting in its queue included, where somebody waited for it; None
            for bulk work, which waits for as long as there is much of it.
        confidence: of the text, 0 to 1; None where the engine has none.
    """

    text: str | None
    failure: str = ""
    outage: str = ""
    seconds: float | None = None
    confidence: float | None = None

    def __repr__(self) -> str:
        return f"Heard(failure={self.failure!r})"  # never the speech


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """What was made of one record.

    Attributes:
        record: its id.
        block: from `serve_app.rollout.arms.block_of`.
        reference: what was said, if that is known.
        lang: BCP 47 tag of the language.
        incumbent: what the incumbent made of it; None if it was not asked.
        candidate: what the candidate made of it; None if it was not asked.
    """

    record: str
    block: str
    reference: str | None = None
    lang: str | None = None
    incumbent: Heard | None = None
    candidate: Heard | None = None


class Block(msgspec.Struct):
    """Sums over the records of a block that both versions have transcribed.

    Attributes:
        incumbent: word errors of the incumbent, where there are references.
        candidate: word errors of the candidate on the same.
        words: words of those references.
        differing: words by which the two texts differ.
        heard: words of the incumbent's texts.
    """

    incumbent: int = 0
    candidate: int = 0
    words: int = 0
    differing: int = 0
    heard: int = 0


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What the evidence says.

    Attributes:
        verdict: of the rules.
        reason: in words.
        records: that were observed.
        blocks: that both versions have transcribed.
        words: of the references.
        incumbent_wer: in percent; None without references.
        candidate_wer: likewise.
        wer_change: interval of the candidate's WER minus the incumbent's, in points of percent,
            that is right at every look; None without references.
        differing: words by which the texts differ, in percent of the incumbent's; None without any.
        confidence_change: the candidate's confidence minus the incumbent's on the same clips.
        failing: clips without an answer in percent, by version.
        slow: clips that somebody waited for longer than the settings allow in percent, by version.
    """

    verdict: Verdict
    reason: str
    records: int
    blocks: int
    words: int
    incumbent_wer: float | None
    candidate_wer: float | None
    wer_change: tuple[float, float] | None
    differing: float | None
    confidence_change: float | None
    failing: dict[Version, float]
    slow: dict[Version, float]


class Evidence(msgspec.Struct, kw_only=True):
    """Everything that has been observed, as sums by block: fit to be stored.

    A block goes on growing while its speech comes; each look takes the blocks as they are. Every
    record counts once, however often it comes.

    Attributes:
        blocks: by digest.
        failing: whether clips had no answer, by version.
        slow: whether somebody waited long for an answer, by version.
        confidence: differences, candidate minus incumbent.
        in_a_row: failures of the candidate since its last answer; an outage is one.
        failure: error code of the last of those.
        outage: name of the last outage.
        seen: digests of the ids of records, in hexadecimal, the oldest first.
        records: how many were observed.
        acted: the verdict that has been acted upon.
    """

    blocks: dict[str, Block] = {}
    failing: dict[Version, ConfidenceSequence] = {}
    slow: dict[Version, ConfidenceSequence] = {}
    confidence: ConfidenceSequence = msgspec.field(default_factory=ConfidenceSequence)
    in_a_row: int = 0
    failure: str = ""
    outage: str = ""
    seen: dict[str, None] = {}
    records: int = 0
    acted: Verdict | None = None

    def add(self, observation: Observation, rules: RolloutSettings) -> None:
        """Add what was observed of a record, unless it has been."""
        name = digest(observation.record).hex()
        if name in self.seen:
            return
        self.seen[name] = None
        if len(self.seen) > _KNOWN:
            del self.seen[next(iter(self.seen))]
        self.records += 1
        first, second = observation.incumbent, observation.candidate
        if first is not None:
            self._count("incumbent", first, rules)
        if second is not None:
            self._count("candidate", second, rules)
            self._note_failure(second)
        if first is not None and second is not None:
            self._compare(observation, first, second)

    def _count(self, version: Version, heard: Heard, rules: RolloutSettings) -> None:
        failed = heard.text is None
        self.failing.setdefault(version, ConfidenceSequence()).add(failed)
        if heard.seconds is not None:
            late = heard.seconds > rules.slow_s
            self.slow.setdefault(version, ConfidenceSequence()).add(late)

    def _note_failure(self, heard: Heard) -> None:
        if heard.text is not None:
            self.in_a_row = 0
        elif not heard.outage or heard.outage != self.outage:
            self.in_a_row += 1
            self.failure, self.outage = heard.failure, heard.outage

    def _compare(self, observation: Observation, first: Heard, second: Heard) -> None:
        if first.text is None or second.text is None:
            return
        block = self.blocks.setdefault(observation.block, Block())
        lang = observation.lang
        if observation.reference is not None:
            errors = count_errors(observation.reference, first.text, lang=lang)
            block.incumbent += errors.errors
            block.candidate += count_errors(observation.reference, second.text, lang=lang).errors
            block.words += errors.reference
        between = count_errors(first.text, second.text, lang=lang)
        block.differing += between.errors
        block.heard += between.reference
        if first.confidence is not None and second.confidence is not None:
            self.confidence.add(second.confidence - first.confidence)

    def findings(self, rules: RolloutSettings) -> Findings:
        """What can be said now; may be asked at any time."""
        errors = PairedErrors()
        for block in self.blocks.values():
            if block.words:
                errors.add(block.incumbent, block.candidate, block.words, rules)
        verdict, reason = self._verdict(errors, rules)
        words = errors.words
        differing = sum(block.differing for block in self.blocks.values())
        heard = sum(block.heard for block in self.blocks.values())
        change = None
        if words and errors.blocks > 1:
            low, high = errors.difference.bounds(alpha_of(rules), rules.sharpest_at)
            points = 100 * errors.blocks / words
            change = (round(low * points, 2), round(high * points, 2))
        return Findings(
            verdict=verdict,
            reason=reason,
            records=self.records,
            blocks=len(self.blocks),
            words=words,
            incumbent_wer=_percent(errors.incumbent, words),
            candidate_wer=_percent(errors.candidate, words),
            wer_change=change,
            differing=_percent(differing, heard),
            confidence_change=round(self.confidence.mean, 4) if self.confidence.n else None,
            failing={name: round(100 * each.mean, 2) for name, each in self.failing.items()},
            slow={name: round(100 * each.mean, 2) for name, each in self.slow.items()},
        )

    def _verdict(self, errors: PairedErrors, rules: RolloutSettings) -> tuple[Verdict, str]:
        if self.in_a_row >= rules.errors_in_a_row:
            return (
                Verdict.ROLL_BACK,
                f"{self.in_a_row} failures in a row, the last one: {self.failure}",
            )
        paired = errors.verdict(msgspec.structs.replace(rules, error_rate=alpha_of(rules)))
        if paired is Verdict.ROLL_BACK:
            return paired, f"its WER is more than {rules.max_worse:.0%} above the incumbent's"
        if self._is_above(self.failing, rules.max_failing, rules):
            return Verdict.ROLL_BACK, "more of its clips have no answer"
        if self._is_above(self.slow, rules.max_slow, rules):
            return Verdict.ROLL_BACK, f"more of its answers take longer than {rules.slow_s:g} s"
        if paired is Verdict.PROMOTE:
            how = "is below" if rules.promote_when == "better" else "is not above"
            return paired, f"its WER {how} the incumbent's"
        if max(len(self.blocks), self.failing.get("candidate", _NOTHING).n) >= rules.max_blocks:
            return Verdict.INCONCLUSIVE, f"{rules.max_blocks} blocks have shown no difference"
        return Verdict.HOLD, _still_open(len(self.blocks), errors, rules)

    def _is_above(
        self, shares: dict[Version, ConfidenceSequence], by: float, rules: RolloutSettings
    ) -> bool:
        """Whether the candidate's share is certainly above the incumbent's by more than `by`."""
        incumbent = shares.get("incumbent", _NOTHING)
        candidate = shares.get("candidate", _NOTHING)
        if min(incumbent.n, candidate.n) < rules.min_blocks:
            return False
        alpha = alpha_of(rules) / 2  # each of the two intervals may be wrong
        _, most = incumbent.bounds(alpha, rules.sharpest_at)
        least, _ = candidate.bounds(alpha, rules.sharpest_at)
        return least - most > by


_NOTHING = ConfidenceSequence()


def alpha_of(rules: RolloutSettings) -> float:
    """The probability of a wrong answer that each of the questions may have, over all looks."""
    return rules.error_rate / _QUESTIONS


def _still_open(blocks: int, errors: PairedErrors, rules: RolloutSettings) -> str:
    if not blocks:
        return "nothing has been compared"
    if not errors.blocks:
        return "there are no references to count errors against"
    if errors.blocks < rules.min_blocks:
        return f"{errors.blocks} of at least {rules.min_blocks} blocks with references"
    return "no difference is certain yet"


def _percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 2) if whole else None
