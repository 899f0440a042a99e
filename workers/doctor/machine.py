"""Memory and cores of this machine, against what the settings reserve."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from schemas.settings import ModelSettings, Settings
from serve_app.cluster.shares import replicas_of, reserved_cpus
from serve_app.system.memory import available_bytes
from serve_app.system.sizes import size_text
from workers.doctor.finding import Finding, failure, ok, warning

#: Memory of a replica beside its model: Python, torch and NeMo, in bytes.
PROCESS_BYTES = 600 << 20
#: Memory of a model in use, as a multiple of its file.
MODEL_FACTOR = 2


def examine_memory(
    models: Mapping[str, ModelSettings], sizes: Mapping[str, int | None], free: int
) -> Finding:
    """Whether the replicas of all models fit the memory, by a rough estimate.

    Args:
        models: of the settings.
        sizes: bytes of each model's files; None where unknown.
        free: bytes that are free.
    """
    needed = sum(
        replicas_of(model) * (PROCESS_BYTES + MODEL_FACTOR * (sizes.get(name) or 0))
        for name, model in models.items()
    )
    said = f"{size_text(free)} free; the models need about {size_text(needed)}"
    unknown = [name for name in models if sizes.get(name) is None]
    if unknown:
        said += f", without the files of {', '.join(unknown)}, whose size is not known"
    if needed <= free:
        return ok("memory", said)
    largest = max((size for size in sizes.values() if size), default=0)
    if MODEL_FACTOR * largest > free:
        return failure(
            "memory",
            f"{said}; the largest alone does not fit",
            next="take a larger machine, or a smaller model",
        )
    return warning(
        "memory",
        said,
        cause="more replicas than this machine has memory for",
        next="lower `replicas`, stop what else runs; `chorus doctor MODEL` measures one model",
    )


def examine_cores(reserved: float, cores: int) -> Finding:
    """Whether the deployments of the settings share cores.

    Args:
        reserved: cores that they reserve together.
        cores: of this machine.
    """
    said = f"{cores} cores; the settings reserve {reserved:g}"
    if reserved <= cores:
        return ok("cores", said)
    return warning(
        "cores",
        f"{said}: deployments share cores, and are slower under load",
        next="lower `num_cpus` or `replicas`, or take a larger machine",
    )


def examine_machine(settings: Settings, sizes: Mapping[str, int | None]) -> Iterator[Finding]:
    """Memory and cores of this machine."""
    yield examine_memory(settings.models, sizes, available_bytes())
    yield examine_cores(reserved_cpus(settings), len(os.sched_getaffinity(0)))
