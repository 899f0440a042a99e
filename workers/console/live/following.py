"""Reading a topic in a thread, for ever: what comes is passed to the event loop in batches."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from workers.console.topics import Topics
from workers.kafka.protocols import Record

logger = logging.getLogger(__name__)

#: Seconds between two batches, and between two tries where Kafka does not answer.
_BATCH_S, _PAUSE_S = 0.1, 2.0
#: Seconds that what is there already may take.
_CATCH_UP_S = 1.5
T = TypeVar("T")


class Follower(Generic[T]):
    """Follows one topic.

    Args:
        topics: what is read of Kafka.
        topic: its name.
        last: about how many of its messages are read that are there already.
        read: what a message is; None to pass over it. Called in the thread.
        take: gets batches in the event loop, oldest first.

    Attributes:
        fault: why nothing comes at the moment; empty while it does.
    """

    def __init__(
        self,
        topics: Topics,
        topic: str,
        last: int,
        read: Callable[[Record], T | None],
        take: Callable[[Sequence[T]], None],
    ) -> None:
        self._topics = topics
        self._topic = topic
        self._last = last
        self._read = read
        self._take = take
        self._read_to: dict[int, int] = {}
        self._ended = threading.Event()
        self.fault = "it is being connected to"

    def start(self) -> None:
        """Begin; called in the event loop that gets the batches."""
        loop = asyncio.get_running_loop()
        name = f"follow {self._topic}"
        threading.Thread(target=self._run, args=(loop,), name=name, daemon=True).start()

    def stop(self) -> None:
        """End soon; no batch comes any more."""
        self._ended.set()

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._ended.is_set():
            try:
                self._follow(loop)
            except Exception as error:  # whatever it is, Kafka may be back in a moment
                if self.fault != str(error):
                    logger.warning("%s: %s", self._topic, type(error).__name__)
                self.fault = str(error) or type(error).__name__
                self._ended.wait(_PAUSE_S)

    def _follow(self, loop: asyncio.AbstractEventLoop) -> None:
        batch: list[tuple[int, T]] = []
        passed, pause = time.monotonic(), _CATCH_UP_S
        for message in self._topics.follow(self._topic, self._last):
            if self._ended.is_set() or loop.is_closed():
                return
            self.fault = ""
            if message is not None and self._is_new(message):
                found = self._read(message)
                if found is not None:
                    batch.append((message.timestamp, found))
            now = time.monotonic()
            if batch and (message is None or now - passed > pause):
                # partitions are read one after the other, which shows while there is much to read
                batch.sort(key=lambda each: each[0])
                loop.call_soon_threadsafe(self._take, [found for _, found in batch])
                batch, passed, pause = [], now, _BATCH_S

    def _is_new(self, message: Record) -> bool:
        """Whether it was not read before Kafka was away."""
        if message.offset <= self._read_to.get(message.partition, -1):
            return False
        self._read_to[message.partition] = message.offset
        return True
