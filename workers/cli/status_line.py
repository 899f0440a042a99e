"""One line on a terminal that says how a stream worker is doing; the log goes on above it."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.highlighter import NullHighlighter
from rich.live import Live
from rich.logging import RichHandler
from rich.text import Text

if TYPE_CHECKING:
    from workers.stream.worker import Stats, StreamWorker

_TURN_S = 1.0
#: Rates are over so many seconds.
_WINDOW_S = 30.0


class StatusText:
    """Makes the line of one snapshot after the other."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, Stats]] = deque()

    def line(self, stats: Stats, now: float) -> str:
        """The line.

        Args:
            stats: the snapshot.
            now: its time, in seconds that only increase.
        """
        self._seen.append((now, stats))
        while now - self._seen[0][0] > _WINDOW_S:
            self._seen.popleft()
        begin, before = self._seen[0]
        seconds = max(now - begin, 1e-9)
        done = stats.transcribed + stats.dead_lettered - before.transcribed - before.dead_lettered
        audio_s = (stats.audio_s - before.audio_s) / seconds
        parts = [
            _count(stats.partitions, "partition"),
            f"{done / seconds:.1f} records/s",
            f"{audio_s:.1f} audio-s/s",
            f"{stats.pending} in hand",
            _count(stats.in_flight, "call"),
            f"{stats.transcribed} transcribed",
            _count(stats.dead_lettered, "dead letter"),
        ]
        if stats.lag is not None:
            parts.insert(3, f"{stats.lag} waiting")
        if stats.breaker != "closed":
            parts.append(f"circuit breaker {stats.breaker}")
        return " · ".join(parts)


@contextmanager
def status_line(worker: StreamWorker) -> Iterator[None]:
    """Show the line while the block runs, if standard error is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    console = Console(stderr=True, highlight=False)
    text, ended = StatusText(), threading.Event()
    handlers = logging.root.handlers[:]
    logging.root.handlers = [_above(console)]
    with Live(console=console, transient=True, auto_refresh=False) as live:

        def show() -> None:
            while not ended.wait(_TURN_S):
                line = text.line(worker.stats(), time.monotonic())
                live.update(Text(line, style="dim", no_wrap=True, overflow="ellipsis"))
                live.refresh()

        thread = threading.Thread(target=show, name="status-line", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            logging.root.handlers = handlers


def _above(console: Console) -> logging.Handler:
    """What writes the log above the line, as it is written elsewhere."""
    from serve_app.system.log_format import formatter

    handler = RichHandler(
        console=console,
        show_time=False,
        show_level=False,
        show_path=False,
        markup=False,
        highlighter=NullHighlighter(),
    )
    handler.setFormatter(formatter())
    return handler


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
