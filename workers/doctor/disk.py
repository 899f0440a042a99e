"""Room on the disks that a service writes to."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from schemas.settings import Settings
from serve_app.cluster import access
from serve_app.registry.local_copy import default_cache
from serve_app.system.sizes import size_text
from workers.doctor.finding import Finding, failure, ok, warning

#: Part of a disk that may be used before Ray refuses to put objects there (its own default).
RAY_FULL = 0.95
#: Shared memory that a cluster takes for audio, `serve_app.cluster.ray_cluster`.
SHARED_BYTES = 512 << 20
_SHARED = Path("/dev/shm")  # noqa: S108  # of the system, only looked at
_MARGIN = 256 << 20


def examine_room(name: str, folder: Path, free: int, needed: int) -> Finding:
    """Whether a folder has room for `needed` bytes, and a margin.

    Args:
        name: of the finding.
        folder: where the room is needed.
        free: bytes that are free there.
        needed: bytes that are needed at once.
    """
    said = f"{size_text(free)} free in {folder}"
    if free < needed:
        return failure(
            name,
            f"{said}, and {size_text(needed)} are needed for the largest model",
            next="free the disk, or name another folder (TMPDIR, RAY_TMPDIR, `registry.cache`)",
        )
    if free < needed + _MARGIN:
        return warning(name, f"{said}: little", next="free the disk before it is full")
    return ok(name, said)


def examine_ray_disk(folder: Path, used: float) -> Finding:
    """Whether Ray can put objects on the disk of its folder.

    Args:
        folder: of Ray's sessions.
        used: part of the disk that is used, from 0 to 1.
    """
    said = f"{used:.0%} of the disk of {folder} are used"
    if used < RAY_FULL:
        return ok("Ray's folder", said)
    return failure(
        "Ray's folder",
        f"{said}; above {RAY_FULL:.0%} Ray puts no objects there",
        next="free the disk, or set RAY_TMPDIR to a folder on another one",
    )


def examine_shared_memory(free: int) -> Finding:
    """Whether the audio between Router and models fits the shared memory.

    Args:
        free: bytes that are free there.
    """
    said = f"{size_text(free)} free in {_SHARED}"
    if free >= SHARED_BYTES:
        return ok("shared memory", said)
    return warning(
        "shared memory",
        f"{said}, and a cluster takes {size_text(SHARED_BYTES)}: Ray falls back to its folder, "
        "which is slower",
        cause="a container with the usual 64 MB",
        next="start the container with `--shm-size=1g`",
    )


def examine_disks(settings: Settings | None, sizes: Mapping[str, int | None]) -> Iterator[Finding]:
    """All of the above for this machine.

    Args:
        settings: if there are any.
        sizes: bytes of each model's files.
    """
    largest = max((size for size in sizes.values() if size), default=0)
    temporary = Path(tempfile.gettempdir())
    yield examine_room("temporary folder", temporary, _free(temporary), largest)
    if settings is not None and any(model.model for model in settings.models.values()):
        registry = settings.registry
        cache = Path(registry.cache) if registry and registry.cache else default_cache()
        yield examine_room("model cache", cache, _free(cache), largest)
    try:
        folder = access.temp_folder()
    except OSError:
        return  # told by the examination of access
    usage = shutil.disk_usage(_there(folder))
    yield examine_ray_disk(folder, 1 - usage.free / usage.total)  # as Ray counts
    if _SHARED.is_dir():
        yield examine_shared_memory(_free(_SHARED))


def _free(folder: Path) -> int:
    return shutil.disk_usage(_there(folder)).free


def _there(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
