"""The environment of training processes on a CPU, several at a time on few cores."""

from __future__ import annotations

import os

#: Idle threads must sleep, not spin. And glibc must keep the memory of a step for the next one:
#: returning it to the system costs more time than the step's arithmetic.
_VARIABLES = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
    "GOMP_SPINCOUNT": "0",
    "MALLOC_TRIM_THRESHOLD_": "4000000000",
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TOP_PAD_": "500000000",
}


def environment() -> dict[str, str]:
    """Environment variables for a training process."""
    return {**os.environ, **_VARIABLES}
