"""Reads what is wanted beside the caller, who never waits for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from serve_app.scaling.demand import Demand
from serve_app.scaling.demand_notes import demands
from serve_app.system.logs import Told

logger = logging.getLogger(__name__)

#: Seconds between two looks.
LOOK_S = 5.0
#: Seconds for which the last demand of a group counts when no newer one comes, as while brokers or
#: Routers are down. Then it counts no more, and the least number of replicas stays.
HOLD_S = 300.0


_readers: dict[str, DemandReader] = {}
_readers_lock = threading.Lock()


def reader_of(app: str) -> DemandReader:
    """The reader of what is noted for an application; one serves all policies of a process.

    Args:
        app: `serve.app` of the settings.
    """
    with _readers_lock:
        return _readers.setdefault(app, DemandReader(partial(demands, app)))


class _Seen(NamedTuple):
    demand: Demand
    changed: float  # by the clock of this process: those of other machines may be wrong


class DemandReader:
    """The demands that count now, by consumer group.

    Args:
        read: gives all that are noted; may block and raise.
        clock: seconds that only increase.
    """

    def __init__(
        self, read: Callable[[], Mapping[str, Demand]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._clock = clock
        self._seen: dict[str, _Seen] = {}
        self._looked = -LOOK_S
        self._looking = threading.Lock()
        self._told = Told()

    def latest(self) -> dict[str, Demand]:
        """The demands as they were last read. Returns at once and never raises.

        A thread reads them anew where that was `LOOK_S` ago.
        """
        now = self._clock()
        if now - self._looked >= LOOK_S and self._looking.acquire(blocking=False):
            self._looked = now
            threading.Thread(target=self._look, name="demand", daemon=True).start()
        return {
            group: seen.demand for group, seen in self._seen.items() if now - seen.changed < HOLD_S
        }

    def _look(self) -> None:
        try:
            found, now = self._read(), self._clock()
            before = self._seen
            self._seen = {
                group: before[group]
                if group in before and before[group].demand == demand
                else _Seen(demand, now)
                for group, demand in found.items()
            }
            self._told.over()
        except Exception as error:  # whatever it is, the last values count on
            if self._told.is_new(fault := type(error).__name__):
                logger.warning("what the stream wants cannot be read (%s)", fault)
        finally:
            self._looking.release()
