"""Rates over the last minutes, added up from metrics events."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from schemas.metrics import MetricsEvent

#: Seconds of one step of a series, and how many steps there are.
STEP_S, STEPS = 5, 120


class Step(msgspec.Struct):
    """What was committed within one step; `lag_s` is the longest 95th percentile of it."""

    records: int = 0
    dead_letters: int = 0
    audio_seconds: float = 0.0
    model_seconds: float = 0.0
    lag_s: float | None = None


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """What the charts show; one value for each step, None where there is none.

    Attributes:
        t: Unix time in seconds of the beginning of each step.
        rate: records per second.
        rtfx: seconds of audio per second of a model's time.
        lag: seconds from a record's timestamp to its result, 95th percentile.
        failures: dead letters per minute.
    """

    t: list[int]
    rate: list[float]
    rtfx: list[float | None]
    lag: list[float | None]
    failures: list[float]


class Figures:
    """The sums of the last `STEPS` steps. Belongs to one event loop."""

    def __init__(self) -> None:
        self._steps: dict[int, Step] = {}

    def push(self, events: Sequence[MetricsEvent]) -> None:
        """Add events, in any order."""
        for event in events:
            if not math.isfinite(event.interval_end) or event.alert is not msgspec.UNSET:
                continue
            step = self._steps.setdefault(int(event.interval_end // STEP_S), Step())
            step.records += event.records
            step.dead_letters += event.dead_letters
            step.audio_seconds += event.audio_seconds
            step.model_seconds += event.model_seconds
            if event.latency is not None:
                step.lag_s = max(step.lag_s or 0.0, event.latency.p95_ms / 1000)
        if len(self._steps) > 4 * STEPS:
            for old in sorted(self._steps)[: -2 * STEPS]:
                del self._steps[old]

    def series(self, now: float) -> Series:
        """The series up to `now`, a Unix time in seconds; the last step may not be over."""
        last = int(now // STEP_S)
        numbers = range(last - STEPS + 1, last + 1)
        steps = [self._steps.get(number, Step()) for number in numbers]
        return Series(
            t=[number * STEP_S for number in numbers],
            rate=[round(each.records / STEP_S, 2) for each in steps],
            rtfx=[
                round(each.audio_seconds / each.model_seconds, 1) if each.model_seconds else None
                for each in steps
            ],
            lag=[None if each.lag_s is None else round(each.lag_s, 2) for each in steps],
            failures=[each.dead_letters * 60 / STEP_S for each in steps],
        )


def event_of(value: bytes | None) -> MetricsEvent | None:
    """The event of a message; None if it is none."""
    try:
        return msgspec.json.decode(value or b"", type=MetricsEvent)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
