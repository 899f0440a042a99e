"""Run a batch so that a bad clip, or too little memory for the batch, affects no other clip."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from schemas.failures import ErrorCode
from serve_app.engines.base import Rejection
from serve_app.engines.errors import EngineError, cause_of

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Messages of torch when memory runs out: of CUDA's allocator, cuBLAS, the CPU's allocator, C++ and
#: oneDNN.
_OUT_OF_MEMORY = re.compile(
    r"out of memory|STATUS_ALLOC_FAILED|can't allocate memory|bad_alloc"
    r"|could not create a primitive$"
)


def is_out_of_memory(error: Exception) -> bool:
    """Whether `error` means that memory ran out, on a GPU or on the host."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and bool(_OUT_OF_MEMORY.search(str(error)))


def run_isolated(
    run: Callable[[Sequence[Item]], list[Result]],
    items: Sequence[Item],
    *,
    who: str = "the model",
    on_out_of_memory: Callable[[Sequence[Item]], None] = lambda items: None,
) -> list[Result | Rejection]:
    """Run the items as one batch; if that raises, run each half, down to single items.

    The same halving helps if memory runs out: clips that do not fit together may fit separately.

    Args:
        run: turns a batch of items into their results, in order.
        items: the batch; not empty.
        who: what `run` calls, for the message of a rejection.
        on_out_of_memory: called with each batch that did not fit.

    Returns:
        The result of each item, in order. One that makes `run` raise on its own has a
        `Rejection`: `MODEL_OUT_OF_MEMORY` or `MODEL_FAULT`.

    Raises:
        EngineError: `run` raised it: the engine is at fault, not the items.
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
                code=ErrorCode.MODEL_FAULT,
                message=f"{who} fails on this clip: {cause_of(error)}",
            )
    # outside the handler, because its traceback keeps the memory of the failed batch
    if len(items) == 1:
        return [rejection]
    middle = len(items) // 2
    return [
        result
        for half in (items[:middle], items[middle:])
        for result in run_isolated(run, half, who=who, on_out_of_memory=on_out_of_memory)
    ]
