"""Requests that come at the same time share a call of the Router.

A call costs CPU in four processes, whatever it carries; a list of eight clips costs little more
than one of them. So while some calls are under way, what comes waits and goes together: nothing
waits where nothing is to be done, and under load the lists grow by themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from schemas.failures import FailureClass, RecordError
from schemas.how import AS_ROUTED, How
from schemas.manifest import ManifestRecord
from serve_app.engines.base import Clip
from serve_app.http.speech import Backend
from serve_app.reading import SAMPLE_RATE
from serve_app.results import Result
from serve_app.router_client import Probe

#: Calls under way from which on requests wait for each other: one is read while one is transcribed.
CALLS = 2
#: Most seconds of audio in a shared call; what has more goes alone, and at once.
MOST_SECONDS = 120.0


@dataclass(eq=False)
class _Request:
    """One caller's records, and its answer."""

    records: Sequence[ManifestRecord]
    clips: Sequence[Clip]
    how: How
    answer: asyncio.Future[list[Result]]

    @property
    def seconds(self) -> float:
        return sum(map(len, self.clips)) / SAMPLE_RATE


class Gatherer:
    """A `Backend` that puts calls together. Belongs to one event loop."""

    def __init__(self, backend: Backend, calls: int = CALLS) -> None:
        self._backend = backend
        self._calls = calls
        self._under_way: set[asyncio.Task[None]] = set()
        self._waiting: list[_Request] = []

    async def transcribe(
        self,
        records: Sequence[ManifestRecord],
        how: How = AS_ROUTED,
        clips: Sequence[Clip] | None = None,
    ) -> list[Result]:
        """As the backend's. Cancelled, it ends its call only if nobody else shares that."""
        if clips is None:
            return await self._backend.transcribe(records, how)
        loop = asyncio.get_running_loop()
        request = _Request(records, clips, how, loop.create_future())
        if request.seconds > MOST_SECONDS / 2:
            return await self._backend.transcribe(records, how, clips)
        self._waiting.append(request)
        self._send()
        try:
            return await request.answer
        finally:
            if request in self._waiting:
                self._waiting.remove(request)

    async def probe(self, timeout_s: float = 5.0) -> Probe:
        """As the backend's."""
        return await self._backend.probe(timeout_s)

    def _send(self) -> None:
        while self._waiting and len(self._under_way) < self._calls:
            group = self._take()
            call = asyncio.create_task(self._call(group))
            self._under_way.add(call)
            call.add_done_callback(self._ended)
            for request in group:
                request.answer.add_done_callback(partial(_abandon, call, group))

    def _take(self) -> list[_Request]:
        """The first that waits, and those after it that want the same and still fit."""
        first = self._waiting[0]
        group: list[_Request] = []
        seconds = 0.0
        for request in self._waiting:
            if request.how == first.how and seconds + request.seconds <= MOST_SECONDS:
                group.append(request)
                seconds += request.seconds
        self._waiting = [each for each in self._waiting if each not in group]
        return group

    def _ended(self, call: asyncio.Task[None]) -> None:
        self._under_way.discard(call)
        self._send()

    async def _call(self, group: list[_Request]) -> None:
        try:
            results = await self._ask(group)
        except Exception as error:
            for request in group:
                if not request.answer.done():
                    request.answer.set_exception(error)
            return
        for request, found in zip(group, results, strict=True):
            if len(group) > 1 and any(map(_is_suspect, found)):
                # who of them was it? Each is asked alone, so that nobody is blamed for another
                [found] = await self._ask([request])
            if not request.answer.done():
                request.answer.set_result(found)

    async def _ask(self, group: list[_Request]) -> list[list[Result]]:
        found = iter(
            await self._backend.transcribe(
                [record for request in group for record in request.records],
                group[0].how,
                [clip for request in group for clip in request.clips],
            )
        )
        return [[next(found) for _ in request.records] for request in group]


def _abandon(
    call: asyncio.Task[None], group: Sequence[_Request], _: asyncio.Future[list[Result]]
) -> None:
    """Cancel a call whose answers nobody waits for any more."""
    if all(request.answer.cancelled() for request in group):
        call.cancel()


def _is_suspect(result: Result) -> bool:
    return isinstance(result, RecordError) and result.failure is FailureClass.SUSPECT
