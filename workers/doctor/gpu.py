"""The GPUs of this machine, and the shares of them that the settings reserve."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping

from schemas.settings import ModelSettings
from serve_app.cluster.shares import replicas_of
from workers.doctor.finding import Finding, failure, ok

_NAME = "GPU"


def gpu_devices() -> int:
    """How many NVIDIA GPUs the system has, whether or not torch can use them."""
    return len(glob.glob("/dev/nvidia[0-9]*")) or int(os.path.exists("/dev/dxg"))


def examine_gpus(models: Mapping[str, ModelSettings], visible: int, devices: int) -> Finding:
    """Whether torch sees the GPUs, and the shares of all replicas fit them as Ray places them.

    Args:
        models: of the settings.
        visible: how many GPUs torch can use.
        devices: how many the system has.
    """
    if not visible and devices:
        return failure(
            _NAME,
            f"this machine has {_gpus(devices)}, and torch can use none",
            cause=_blindness(),
            next="compare `nvidia-smi` with `python -c 'import torch; print(torch.version.cuda)'`; "
            "update the driver, or install the pinned torch",
        )
    if not visible:
        return ok(_NAME, "none: models run on CPUs, and `gpu_fraction` has no effect")
    broken = [
        name
        for name, model in models.items()
        if model.gpu_fraction > 1 and not model.gpu_fraction.is_integer()
    ]
    if broken:
        return failure(
            _NAME,
            f"`gpu_fraction` of {', '.join(broken)} is above 1 and not whole, which Ray refuses",
            next="take a whole number of GPUs, or a share of one",
        )
    shares = [share for model in models.values() for share in _shares(model)]
    total = sum(shares)
    said = f"{_gpus(visible)}; the replicas of the settings reserve {total:.2f}"
    left = unplaced(shares, visible)
    if not left:
        return ok(_NAME, said)
    return failure(
        _NAME,
        f"{said}, and {left} of {len(shares)} replicas find no place",
        cause="shares that are too large together, or that cannot be divided between the GPUs",
        next="lower `gpu_fraction` or the numbers of replicas; Ray waits for ever otherwise",
    )


def unplaced(shares: list[float], gpus: int) -> int:
    """How many of `shares` find no room on the GPUs: a share is of one GPU, or of whole ones."""
    free = [1.0] * gpus
    left = 0
    for share in sorted(shares, reverse=True):
        if share > 1:  # Ray gives whole GPUs
            whole = [index for index, room in enumerate(free) if room == 1.0]
            needed = int(share)
            if len(whole) < needed:
                left += 1
            for index in whole[:needed] if len(whole) >= needed else ():
                free[index] = 0.0
            continue
        place = next((i for i, room in enumerate(free) if room >= share - 1e-9), None)
        if place is None:
            left += 1
        else:
            free[place] -= share
    return left


def _shares(model: ModelSettings) -> Iterator[float]:
    yield from [model.gpu_fraction] * replicas_of(model)


def _blindness() -> str:
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if seen is not None and seen.strip() in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides them"
    return "a driver that is too old for this torch, or a torch for CPUs"


def _gpus(count: int) -> str:
    return f"{count} GPU{'s' * (count > 1)}"
