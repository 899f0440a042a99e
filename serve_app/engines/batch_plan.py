"""Group clips into batches by their padded size."""

from __future__ import annotations

from collections.abc import Sequence


def plan_batches(lengths: Sequence[float], max_padded: float) -> list[list[int]]:
    """Group clips of similar length, so that batches have little padding.

    The cost of a batch is its padded size: clips x longest clip. The clips are sorted by length,
    longest first, so that the largest shapes come first: if memory runs out, it does so on the
    first batch, and captured CUDA graphs never have to grow.

    Args:
        lengths: length of each clip, in any unit.
        max_padded: largest padded size of a batch, in the same unit. A longer clip is a batch of
            its own.

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
