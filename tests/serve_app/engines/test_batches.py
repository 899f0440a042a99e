from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from schemas.failures import ErrorCode
from serve_app.audio.clip import Clip
from serve_app.engines.base import Hypothesis, Rejection
from serve_app.engines.batches import BatchRunner
from serve_app.engines.errors import EngineError

RATE = 100
Forward = Callable[[Sequence[Clip]], list[Hypothesis | Rejection]]


def clip(seconds: float, value: float = 1.0) -> Clip:
    return np.full(int(seconds * RATE), value, np.float32)


def heard(clips: Sequence[Clip]) -> list[Hypothesis | Rejection]:
    return [Hypothesis(text=f"{each[0]:g}") for each in clips]


def runner(forward: Forward, batch_seconds: float = 4.0) -> BatchRunner[Clip]:
    return BatchRunner(
        forward,
        piece_of=lambda clip: clip,
        clip_of=lambda clip: clip,
        sample_rate=RATE,
        min_samples=RATE,
        batch_seconds=batch_seconds,
        alike=lambda clip: bool(clip[0] < 5),
    )


def texts(results: Sequence[Hypothesis | Rejection]) -> list[str]:
    return [each.text if isinstance(each, Hypothesis) else each.code.value for each in results]


def test_batches_hold_what_they_may_and_only_what_is_alike() -> None:
    sizes: list[tuple[int, int]] = []

    def forward(clips: Sequence[Clip]) -> list[Hypothesis | Rejection]:
        sizes.append((len(clips), max(map(len, clips))))
        return heard(clips)

    # half a second counts as the second that it is padded to
    clips = [clip(0.5, 1), clip(2, 2), clip(0.5, 3), clip(2, 4), clip(2, 6), *[clip(0.5, 4)] * 3]
    assert texts(runner(forward).run(clips)) == ["1", "2", "3", "4", "6", "4", "4", "4"]
    assert sizes == [(2, 200), (1, 200), (4, 50), (1, 50)]


def test_a_batch_that_does_not_fit_lowers_the_limit() -> None:
    sizes: list[int] = []

    def forward(clips: Sequence[Clip]) -> list[Hypothesis | Rejection]:
        sizes.append(len(clips))
        if len(clips) > 2:
            raise MemoryError
        return heard(clips)

    run = runner(forward, batch_seconds=8.0)
    assert texts(run.run([clip(1)] * 12)) == ["1"] * 12
    assert (run.batch_seconds, sizes) == (2.0, [8, 4, 2, 2, 4, 2, 2, 2, 2])


def test_a_clip_that_the_model_fails_on_is_alone_with_that() -> None:
    def forward(clips: Sequence[Clip]) -> list[Hypothesis | Rejection]:
        if any(each[0] == 3 for each in clips):
            raise ValueError("no")
        return heard(clips)

    found = runner(forward).run([clip(1, number) for number in range(1, 5)])
    assert texts(found) == ["1", "2", "model_fault", "4"]


def _no(code: ErrorCode) -> Forward:
    return lambda clips: [Rejection(code=code, message="no")] * len(clips)


def _broken(clips: Sequence[Clip]) -> list[Hypothesis | Rejection]:
    raise ValueError("no")


@pytest.mark.parametrize("forward", [_broken, _no(ErrorCode.MODEL_REJECTED)])
def test_a_model_that_fails_on_noise_too_is_at_fault_itself(forward: Forward) -> None:
    run = runner(forward)
    for fails in (lambda: run.run([clip(1)]), lambda: run.probe(1, 1.0)):
        with pytest.raises(EngineError, match=r"fails on .*noise: .*no"):
            fails()


def test_a_model_that_repeats_itself_works() -> None:
    run = runner(_no(ErrorCode.MODEL_REPEATS))
    run.probe(1, 1.0)
    assert texts(run.run([clip(1)])) == ["model_repeats"]
