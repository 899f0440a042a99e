from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from schemas.failures import ErrorCode
from serve_app.engines.base import Rejection
from serve_app.engines.errors import EngineError
from serve_app.engines.isolation import is_out_of_memory, run_isolated


class Model:
    """Doubles numbers; fails on the numbers in `bad`, and on batches of more than `fits`."""

    def __init__(self, *, bad: Sequence[int] = (), fits: int = 1000) -> None:
        self.bad, self.fits = set(bad), fits
        self.batches: list[list[int]] = []

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        if len(items) > self.fits:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        if self.bad & set(items):
            raise ValueError("shape mismatch")
        return [2 * item for item in items]


def codes(results: Sequence[int | Rejection]) -> list[int | ErrorCode]:
    return [each.code if isinstance(each, Rejection) else each for each in results]


def test_a_good_batch_runs_once() -> None:
    model = Model()
    assert run_isolated(model, [1, 2, 3]) == [2, 4, 6]
    assert len(model.batches) == 1


@pytest.mark.parametrize("bad", [[0], [5], [7], [0, 7], [2, 3, 4], range(8)])
def test_only_the_offenders_are_rejected(bad: Sequence[int]) -> None:
    results = run_isolated(Model(bad=bad), list(range(8)))
    expected = [ErrorCode.MODEL_FAULT if item in bad else 2 * item for item in range(8)]
    assert codes(results) == expected


def test_a_lone_offender_costs_few_batches() -> None:
    model = Model(bad=[37])
    run_isolated(model, list(range(64)))
    assert len(model.batches) == 1 + 2 * 6  # two halves for each halving of 64


def test_the_message_says_what_failed() -> None:
    (rejection,) = run_isolated(Model(bad=[1]), [1])
    assert isinstance(rejection, Rejection)
    assert "ValueError: shape mismatch" in rejection.message


def test_out_of_memory_halves_and_goes_on() -> None:
    model, seen = Model(fits=3), []
    results = run_isolated(model, list(range(10)), on_out_of_memory=lambda b: seen.append(len(b)))
    assert results == [2 * item for item in range(10)]
    assert seen == [10, 5, 5]


def test_what_does_not_fit_alone_is_out_of_memory_not_poison() -> None:
    results = run_isolated(Model(fits=0), [1, 2])
    assert codes(results) == [ErrorCode.MODEL_OUT_OF_MEMORY] * 2


def test_a_broken_engine_is_nobody_s_rejection() -> None:
    def broken(items: Sequence[int]) -> list[int]:
        raise EngineError("the GPU failed")

    with pytest.raises(EngineError):
        run_isolated(broken, [1, 2, 3])


def host_allocator() -> None:
    import torch

    torch.empty(10**15)


def python_allocator() -> None:
    bytearray(1 << 62)


@pytest.mark.parametrize("allocate", [host_allocator, python_allocator])
def test_real_allocators_are_understood(allocate: Callable[[], None]) -> None:
    with pytest.raises((MemoryError, RuntimeError)) as caught:
        allocate()
    assert is_out_of_memory(caught.value)


def test_other_errors_are_not_out_of_memory() -> None:
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))
