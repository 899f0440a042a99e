"""What waits for the group, looked at now and then and told to the Router, so that models scale.

One worker of a group does it: the one that has partition 0 of the manifest topic.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from schemas.requests import Backlog
from schemas.settings import StreamSettings
from serve_app.system.logs import Told
from workers.kafka.partition_offsets import PartitionOffsets

log = logging.getLogger(__name__)

#: Seconds between two looks.
INTERVAL_S = 10.0
#: Time over which it is counted what arrives.
WINDOW_S = 60.0


class BacklogCounter:
    """Makes a `Backlog` of the group's offsets.

    Args:
        stream: settings.
        clock: seconds that only increase.
    """

    def __init__(self, stream: StreamSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._ends: deque[tuple[float, dict[int, int]]] = deque()

    def count(self, offsets: Sequence[PartitionOffsets]) -> Backlog:
        """What waits by these offsets, and what arrives by the earlier ones."""
        now = self._clock()
        self._ends.append((now, {each.partition: each.end for each in offsets}))
        while len(self._ends) > 2 and now - self._ends[1][0] >= WINDOW_S:
            self._ends.popleft()
        (begin, before), (_, after) = self._ends[0], self._ends[-1]
        # of a topic that was made again, or has new partitions, nothing is known
        new = sum(max(0, end - before.get(partition, end)) for partition, end in after.items())
        scaling = self._stream.scaling
        return Backlog(
            records=sum(each.lag for each in offsets),
            arriving=new / (now - begin) if now > begin else 0.0,
            partitions=len(offsets),
            catch_up_s=self._stream.catch_up_s,
            records_per_worker=scaling.records_per_worker,
        )


class BacklogWatch:
    """Looks from a thread of its own, from `start` to `stop`.

    Args:
        counter: makes the backlog.
        mine: whether it is for this worker to look.
        look: the group's offsets; blocks, and may raise.
        tell: takes what was found; returns at once.
        interval_s: seconds between two looks.
    """

    def __init__(
        self,
        counter: BacklogCounter,
        *,
        mine: Callable[[], bool],
        look: Callable[[], Sequence[PartitionOffsets]],
        tell: Callable[[Backlog], None],
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._counter = counter
        self._mine = mine
        self._look = look
        self._tell = tell
        self._interval_s = interval_s
        self._stopped = threading.Event()
        self._told = Told()
        self._thread = threading.Thread(target=self._run, name="stream-backlog", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more. Does not wait for a look that is under way."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(self._interval_s):
            if not self._mine():
                continue
            try:
                found = self._look()
            except Exception as error:  # what was told last holds for a while
                if self._told.is_new(fault := type(error).__name__):
                    log.warning("what waits for the group cannot be seen (%s)", fault)
                continue
            self._told.over()
            if not self._stopped.is_set():
                self._tell(self._counter.count(found))
