"""Cut clips into batches by padded seconds: the arithmetic, without a model or a queue."""

from __future__ import annotations

from collections.abc import Sequence


def plan_batches(lengths: Sequence[float], max_padded: float) -> list[list[int]]:
    """Group clips of like length, so that little of a batch is padding.

    A batch costs what its padded size is: clips x longest clip. The clips are sorted by length,
    longest first, so that the largest shapes come first: memory runs out on the first batch or
    on none, and captured CUDA graphs are not outgrown.

    Args:
        lengths: length of each clip, in any unit.
        max_padded: most that a batch may hold after padding, in the same unit. A clip longer
            than that is a batch of its own.

    Returns:
        Batches of indices into `lengths`; every index once, none empty. Clips of equal length
        keep their order.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    batches: list[list[int]] = []
    for index in order:
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= max_padded:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches
