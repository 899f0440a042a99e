"""Run a batch so that one bad clip, or one batch too large for the memory, spoils nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from schemas.failures import ErrorCode
from serve_app.engines.base import Rejection
from serve_app.engines.errors import EngineError

Item = TypeVar("Item")
Result = TypeVar("Result")

#: How torch says that memory ran out: CUDA's allocator, cuBLAS, the CPU's allocator, C++, oneDNN.
_OUT_OF_MEMORY = re.compile(
    r"out of memory|STATUS_ALLOC_FAILED|can't allocate memory|bad_alloc"
    r"|could not create a primitive$"
)


def is_out_of_memory(error: Exception) -> bool:
    """Whether `error` says that memory ran out, on a GPU or on the host."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and bool(_OUT_OF_MEMORY.search(str(error)))


def run_isolated(
    run: Callable[[Sequence[Item]], list[Result]],
    items: Sequence[Item],
    *,
    on_out_of_memory: Callable[[Sequence[Item]], None] = lambda items: None,
) -> list[Result | Rejection]:
    """`run` the items as one batch; where that raises, each half of it, down to single items.

    Out of memory is met by the same halving: what does not fit together fits apart.

    Args:
        run: turns a batch of items into their results, in order.
        items: not empty.
        on_out_of_memory: called with each batch that did not fit.

    Returns:
        The result of each item, in order. One that makes `run` raise on its own has a
        `Rejection`: `MODEL_OUT_OF_MEMORY` or `MODEL_REJECTED`.

    Raises:
        EngineError: `run` raised it: not the items are at fault but the engine.
    """
    try:
        return list(run(items))
    except EngineError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            on_out_of_memory(items)
            rejection = Rejection(
                code=ErrorCode.MODEL_OUT_OF_MEMORY,
                message="this clip alone does not fit the model's memory; lower `split_seconds`",
            )
        else:
            rejection = Rejection(
                code=ErrorCode.MODEL_REJECTED,
                message=f"the model fails on this clip: {type(error).__name__}: {error}",
            )
    # on from here outside the handler, whose traceback keeps the failed batch's memory
    if len(items) == 1:
        return [rejection]
    middle = len(items) // 2
    return [
        result
        for half in (items[:middle], items[middle:])
        for result in run_isolated(run, half, on_out_of_memory=on_out_of_memory)
    ]
