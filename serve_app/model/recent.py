"""What a replica has done within the last minute."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from serve_app.engines.base import Rejection
from serve_app.model.protocol import ModelInfo, Outcome
from serve_app.registry.provenance import now

WINDOW_S = 60.0


class _Answer(NamedTuple):
    at: float
    audio_s: float
    work_s: float
    failed: int


class RecentWork:
    """Counts what was answered; used from one thread.

    Args:
        clock: seconds that only increase.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begin = clock()
        self._answers: deque[_Answer] = deque()
        self._last_failure = ""

    def add(self, audio_s: float, outcomes: Sequence[Outcome]) -> None:
        """Count the answers to a call with so many seconds of audio."""
        results = [each.result for each in outcomes]
        failures = [each.code for each in results if isinstance(each, Rejection)]
        work_s = sum(each.model_ms for each in outcomes) / 1e3
        self._answers.append(_Answer(self._clock(), audio_s, work_s, len(failures)))
        if failures:
            self._last_failure = f"{failures[-1].value} at {now()}"
        self._forget()

    def described(self, info: ModelInfo) -> ModelInfo:
        """`info` with what was done."""
        self._forget()
        seconds = min(WINDOW_S, max(1.0, self._clock() - self._begin))
        return replace(
            info,
            audio_per_s=round(sum(each.audio_s for each in self._answers) / seconds, 2),
            failed=sum(each.failed for each in self._answers),
            last_failure=self._last_failure,
        )

    @property
    def rtfx(self) -> float | None:
        """Seconds of audio per second of the engine's work; None where it has done none."""
        self._forget()
        work_s = sum(each.work_s for each in self._answers)
        return sum(each.audio_s for each in self._answers) / work_s if work_s > 0 else None

    def _forget(self) -> None:
        while self._answers and self._clock() - self._answers[0].at > WINDOW_S:
            self._answers.popleft()
