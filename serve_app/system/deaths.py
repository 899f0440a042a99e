"""How replicas die, in sentences; Ray's own take many lines and name no model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

#: Killed by Ray's memory monitor.
OUT_OF_MEMORY = "was killed because the memory of its machine ran out"
#: Crashed, or killed by the kernel: Ray does not know.
DIED = "died (it crashed, or memory ran out)"
#: How Serve's messages begin: of a replica that ran and died, once it has seen that; and what it
#: quotes of one that died as it started.
_UNHEALTHY = "A replica's health check failed."
_DIED = ("ActorDiedError(", "The actor died unexpectedly", "ray.exceptions.ActorDiedError: ")
_ADVICE = "give the machine more memory, or serve fewer or smaller models or replicas"


class Death(NamedTuple):
    """A Serve replica that ended and was not told to.

    Attributes:
        app: its application.
        deployment: its deployment; a model's has the name of the model.
        out_of_memory: whether Ray's memory monitor killed it. The kernel's gives no reason.
    """

    app: str
    deployment: str
    out_of_memory: bool


def sentences(deaths: Iterable[Death]) -> Iterator[str]:
    """A line for each deployment whose replicas died: why, as far as known, and what to do."""
    for (app, deployment, out_of_memory), count in Counter(deaths).items():
        replicas = "a replica" if count == 1 else f"{count} replicas"
        if out_of_memory:
            what = OUT_OF_MEMORY if count == 1 else "were killed because the memory ran out"
            yield f"{app}: {replicas} of {deployment} {what}; {_ADVICE}"
        else:
            yield (
                f"{app}: {replicas} of {deployment} ended unexpectedly: crashed, or killed, most "
                f"often because memory ran out; if that repeats, {_ADVICE}"
            )


def of_deployment(message: str) -> str | None:
    """What to say of a deployment whose replicas die, for Serve's message without a traceback.

    Args:
        message: of the deployment; it may quote an error of Ray.

    Returns:
        None for other errors.
    """
    if message.startswith(_UNHEALTHY):
        return (
            "a replica ended, or did not answer when it was asked how it is; another one is "
            "started in its place"
        )
    error = message.rpartition("Error:\n")[2]
    if error.startswith("OutOfMemoryError("):
        return f"its process {OUT_OF_MEMORY} while it loaded; {_ADVICE}"
    if error.startswith(_DIED):
        return (
            "its process ended while it loaded: it crashed, or was killed, most often because "
            f"memory ran out; {_ADVICE}"
        )
    return None
