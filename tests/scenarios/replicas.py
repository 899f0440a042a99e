"""The Serve replicas of a stack as processes, and killing them."""

from __future__ import annotations

import contextlib
import random

import psutil

from deploy.local import LocalStack
from tests.processes import command_of

ROUTER = "Router"
#: A replica's command line is this, its application, its deployment and what it is doing.
_TITLE = "ray::ServeReplica:"


def replicas(stack: LocalStack) -> dict[str, list[psutil.Process]]:
    """The replicas that live, by deployment: `ROUTER`, and each model by its name.

    One that is starting counts as soon as Ray has named its process.
    """
    found: dict[str, list[psutil.Process]] = {}
    for process in stack.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            title = " ".join(command_of(process))
            if title.startswith(_TITLE) and process.status() != psutil.STATUS_ZOMBIE:
                deployment = title.removeprefix(_TITLE).split(":")[1].split(".")[0].split()[0]
                found.setdefault(deployment, []).append(process)
    return found


def kill_models(stack: LocalStack) -> int:
    """SIGKILL every replica of every model; returns how many."""
    victims = [
        process
        for deployment, processes in replicas(stack).items()
        if deployment != ROUTER
        for process in processes
    ]
    return sum(map(_kill, victims))


def kill_one(stack: LocalStack, rng: random.Random, *, router: bool) -> str | None:
    """SIGKILL a random replica of the Router or of a model; its deployment, or None: none lives."""
    candidates = [
        (deployment, process)
        for deployment, processes in sorted(replicas(stack).items())
        if (deployment == ROUTER) is router
        for process in processes
    ]
    if not candidates:
        return None
    deployment, process = rng.choice(candidates)
    return deployment if _kill(process) else None


def _kill(process: psutil.Process) -> bool:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return False
    return True
