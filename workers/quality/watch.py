"""Keeps the process that looks at a stream's quality, in the worker whose turn it is.

One worker of a group does it, as with the backlog: the one that has partition 0 of the manifest
topic. A process of its own, so that reading and arithmetic take nothing from the stream.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import Pipe

from schemas.settings import Settings
from schemas.settings.quality import QualitySettings
from serve_app.system.logs import Told
from workers.quality.gauges import Gauge

log = logging.getLogger(__name__)

_TURN_S = 0.5
_END_S = 5.0


class QualityWatch:
    """Starts and ends the process as the worker's turn comes and goes, from `start` to `stop`.

    Args:
        settings: with `stream.quality`.
        mine: whether it is for this worker to look.
        tell: takes the gauges that have changed; returns at once.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        mine: Callable[[], bool],
        tell: Callable[[Sequence[Gauge]], None],
    ) -> None:
        self._settings = settings
        self._pause_s = (settings.stream.quality or QualitySettings()).every_s
        self._mine = mine
        self._tell = tell
        self._last: Sequence[Gauge] = ()
        self._process: _Process | None = None
        self._not_before = 0.0
        self._told = Told()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stream-quality", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the process, and wait for that."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(_END_S)

    def _run(self) -> None:
        while not self._stopped.wait(_TURN_S):
            try:
                self._turn()
            except Exception as error:  # it must not end the looking for ever
                self._pause(type(error).__name__)
        self._end()

    def _turn(self) -> None:
        if not self._mine():
            self._end()
        elif self._process is None:
            if time.monotonic() >= self._not_before:
                self._process = _Process(self._settings)
        elif (found := self._process.found()) is not None:
            self._told.over()
            self._show(found)
        elif (code := self._process.exit_code) is not None:
            self._pause(f"it ended with code {code}")

    def _pause(self, fault: str) -> None:
        if self._told.is_new(fault):
            log.warning(
                "the process that looks at the quality of transcripts does not run (%s); it is "
                "started again every %g s",
                fault,
                self._pause_s,
            )
        self._end()
        self._not_before = time.monotonic() + self._pause_s

    def _end(self) -> None:
        if self._process is not None:
            self._process.end()
            self._process = None
        self._show([])

    def _show(self, found: Sequence[Gauge]) -> None:
        """Tell what was found; what was told before and is not known any more becomes 0."""
        there = {(each.metric, each.labels) for each in found}
        gone = [
            each._replace(value=0.0)
            for each in self._last
            if (each.metric, each.labels) not in there
        ]
        if found or gone:
            self._tell([*found, *gone])
        self._last = found


class _Process:
    """A running `process`."""

    def __init__(self, settings: Settings) -> None:
        self._connection, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "workers.quality.process", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # it ends with this process, not before it
            )
        with suppress(OSError):  # it has ended, which its code tells
            self._connection.send(settings)

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def found(self) -> list[Gauge] | None:
        """What a look has found since the last call, if there was one."""
        try:
            if not self._connection.poll():
                return None
            found: list[Gauge] = self._connection.recv()
        except (EOFError, OSError):
            return None
        return found

    def end(self) -> None:
        """End it."""
        self._connection.close()
        self._process.kill()
        self._process.wait(_END_S)
