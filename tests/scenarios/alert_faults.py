"""Faults of a running stream, each with the alerts that are due for it."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import psutil

from deploy.local import LocalStack
from tests.scenarios.beside import beside
from tests.scenarios.replicas import replicas

#: Models of the plan, and the one that it falls back to.
MEMBERS = ("general", "medical")
SPARE = "spare"
#: Longest time from a fault to its alerts, with the rules' shorter times.
_PATIENCE_S = 75.0
#: How long a batch takes while the model is slow, and the pause in which the next one begins.
_SLOW_S, _PAUSE_S = 2.0, 0.05


class Running(Protocol):
    """A stream that runs.

    Attributes:
        stack: of its processes.
        gate: file that keeps the first of `MEMBERS` from working while it is there.
    """

    stack: LocalStack
    gate: Path

    def turn(self, waiting: int, *, broken: bool = False) -> None:
        """Let half a second pass.

        Args:
            waiting: records that are to wait.
            broken: have one of them name a file that is not there.
        """
        ...

    def firing(self) -> set[str]:
        """Alerts that fire now."""
        ...


class Fault(NamedTuple):
    """A fault.

    Attributes:
        name: in a few words.
        due: alerts that must fire.
        waiting: records that wait meanwhile.
        happens: begins it; it ends with the context. What it yields is called again and again.
        broken: whether records are broken.
    """

    name: str
    due: frozenset[str]
    waiting: int
    happens: Callable[[Running], contextlib.AbstractContextManager[Callable[[], object]]]
    broken: bool = False


def fired(run: Running, fault: Fault) -> set[str]:
    """Have a fault happen, and wait for its alerts; returns those that fired."""
    found: set[str] = set()
    until = time.monotonic() + _PATIENCE_S
    with fault.happens(run) as again:
        while not fault.due <= found and time.monotonic() < until:
            again()
            run.turn(fault.waiting, broken=fault.broken)
            found |= run.firing()
    return found & fault.due


@contextlib.contextmanager
def _nothing(run: Running) -> Iterator[Callable[[], object]]:
    """The records are what is wrong."""
    yield lambda: None


@contextlib.contextmanager
def _slow_model(run: Running) -> Iterator[Callable[[], object]]:
    """A model takes seconds for each batch."""

    def toggle(over: threading.Event) -> None:
        while not over.is_set():
            run.gate.touch()
            over.wait(_SLOW_S)
            run.gate.unlink()
            time.sleep(_PAUSE_S)

    with beside(toggle):
        yield lambda: None


@contextlib.contextmanager
def _no_members(run: Running) -> Iterator[Callable[[], object]]:
    """The models of the plan are killed as often as they come back."""
    yield lambda: _kill(run.stack, set(MEMBERS))


@contextlib.contextmanager
def _no_models(run: Running) -> Iterator[Callable[[], object]]:
    """So are all models, while clients call."""
    yield lambda: _kill(run.stack, {*MEMBERS, SPARE})


@contextlib.contextmanager
def _stopped_worker(run: Running) -> Iterator[Callable[[], object]]:
    """The worker's process does nothing any more; it is killed in the end, and started again."""
    run.stack.workers["0"].send_signal(signal.SIGSTOP)
    try:
        yield lambda: None
    finally:
        run.stack.kill_worker("0")
        run.stack.start_worker()


FAULTS = (
    Fault("records are broken", frozenset({"ChorusDeadLetters"}), 100, _nothing, broken=True),
    Fault(
        "a model is slow",
        frozenset({"ChorusSlowModel", "ChorusClipsWait", "ChorusLag", "ChorusSlow"}),
        900,
        _slow_model,
    ),
    Fault("members of the plan are away", frozenset({"ChorusFallbacks"}), 100, _no_members),
    Fault(
        "all models are away",
        frozenset({"ChorusNoModelAnswers", "ChorusStreamStandsStill", "ChorusHttpFails"}),
        300,
        _no_models,
    ),
    Fault("the worker hangs", frozenset({"ChorusSilent"}), 100, _stopped_worker),
)


def _kill(stack: LocalStack, names: set[str]) -> None:
    for name, processes in replicas(stack).items():
        for process in processes if name in names else []:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
