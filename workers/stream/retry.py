"""When and in which groups failed records are tried again."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from schemas.failures import ErrorCode, FailureClass, RecordError
from schemas.transcript import Transcript
from workers.stream.work import Work


class Backoff:
    """Exponential backoff with full jitter: uniform in [0, min(`longest_s`, `first_s` * 2^n)].

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    def __init__(self, first_s: float, longest_s: float, rng: random.Random | None = None) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._rng = rng or random.Random()

    def delay_s(self, attempt: int) -> float:
        """Seconds to wait after the `attempt`-th failure in a row (the first is 1)."""
        exponent = min(attempt - 1, 32)
        return self._rng.uniform(0.0, min(self._longest_s, self._first_s * 2.0**exponent))


#: Retryable, but neither the Router nor a model is down.
_RECORD_TROUBLE = frozenset({ErrorCode.AUDIO_IO, ErrorCode.MODEL_OUT_OF_MEMORY})


@dataclass(slots=True)
class Verdict:
    """What a call's results mean for its works.

    Attributes:
        finished: have a transcript or are poison; `outcome` is set.
        again: failed through no fault of theirs.
        split: whether `again` is too much for one call (out of memory).
        suspects: a replica died while it worked on them.
        blames_backend: whether any of the failures is the Router's or a model's.
    """

    finished: list[Work] = field(default_factory=list)
    again: list[Work] = field(default_factory=list)
    split: bool = False
    suspects: list[Work] = field(default_factory=list)
    blames_backend: bool = False

    @property
    def failed(self) -> bool:
        """Whether the call speaks against the backend: nobody was helped, by its fault."""
        return not self.finished and self.blames_backend


def judge(works: Sequence[Work], results: Sequence[Transcript | RecordError]) -> Verdict:
    """Sort `works` by their results (same length, same order); sets the outcomes."""
    verdict = Verdict()
    for work, result in zip(works, results, strict=True):
        if isinstance(result, Transcript):
            work.outcome = result
            verdict.finished.append(work)
            continue
        work.error = result
        if result.failure is FailureClass.POISON:
            work.outcome = result
            verdict.finished.append(work)
            continue
        verdict.blames_backend |= result.code not in _RECORD_TROUBLE
        if result.failure is FailureClass.SUSPECT:
            verdict.suspects.append(work)
        else:
            verdict.again.append(work)
            verdict.split |= result.code is ErrorCode.MODEL_OUT_OF_MEMORY
    return verdict


def halves(works: list[Work]) -> list[list[Work]]:
    """`works` in two halves in order; one half where there is only one."""
    middle = (len(works) + 1) // 2
    return [half for half in (works[:middle], works[middle:]) if half]
