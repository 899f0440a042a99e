"""Let concurrent requests share a call of the Router.

A call costs CPU in four processes, whatever its size; a list of eight clips costs little more than
a single clip. So while some calls are under way, new requests wait and are then sent together: an
idle service makes nothing wait, and under load the lists grow by themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from msgspec.structs import replace

from schemas.failures import FailureClass, RecordError
from schemas.manifest import ManifestRecord
from schemas.requests import DEFAULT_OPTIONS, CallOptions
from serve_app.audio.clip import SAMPLE_RATE, Recording
from serve_app.router.protocol import Backend, Probe
from serve_app.router.results import Result
from serve_app.telemetry.tracing import current_traceparent

#: Most concurrent calls: while the models work on one, the Router prepares the other.
CALLS = 2
#: Most seconds of audio in a shared call. A request with more than half of it is sent by itself, at
#: once.
MAX_SHARED_SECONDS = 120.0


@dataclass(eq=False)
class _Request:
    """The records of one caller, the future of their results, and the context of its trace."""

    records: Sequence[ManifestRecord]
    clips: Sequence[Recording]
    options: CallOptions
    answer: asyncio.Future[list[Result]]
    trace: str | None = None

    @property
    def seconds(self) -> float:
        return sum(len(each.clip) for each in self.clips) / SAMPLE_RATE


class RequestCoalescer:
    """A `Backend` that combines concurrent calls into one. Belongs to one event loop.

    Args:
        backend: transcribes the combined lists.
        calls: most concurrent calls of `backend`.
    """

    def __init__(self, backend: Backend, calls: int = CALLS) -> None:
        self._backend = backend
        self._calls = calls
        self._under_way: set[asyncio.Task[None]] = set()
        self._waiting: list[_Request] = []

    async def transcribe(
        self,
        records: Sequence[ManifestRecord],
        options: CallOptions = DEFAULT_OPTIONS,
        clips: Sequence[Recording] | None = None,
    ) -> list[Result]:
        """One result per record, in order; see `Backend.transcribe`.

        Cancelling it cancels the shared call only if no other request is waiting for it.

        Args:
            records: the records.
            options: only requests with equal options share a call.
            clips: the records' audio; without it the records are passed on alone.
        """
        trace = current_traceparent()
        traced = _traced(options, [(trace, len(records))])
        if clips is None:
            return await self._backend.transcribe(records, traced)
        loop = asyncio.get_running_loop()
        request = _Request(records, clips, options, loop.create_future(), trace)
        if request.seconds > MAX_SHARED_SECONDS / 2:
            return await self._backend.transcribe(records, traced, clips)
        self._waiting.append(request)
        self._send()
        try:
            return await request.answer
        finally:
            if request in self._waiting:
                self._waiting.remove(request)

    async def probe(self, timeout_s: float = 5.0) -> Probe:
        """Ask the backend for a sign of life; see `Backend.probe`."""
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
        """Take the first waiting request, and later ones with the same options that still fit."""
        first = self._waiting[0]
        group: list[_Request] = []
        seconds = 0.0
        for request in self._waiting:
            if request.options == first.options and seconds + request.seconds <= MAX_SHARED_SECONDS:
                group.append(request)
                seconds += request.seconds
        self._waiting = [each for each in self._waiting if each not in group]
        return group

    def _ended(self, call: asyncio.Task[None]) -> None:
        self._under_way.discard(call)
        self._send()

    async def _call(self, group: list[_Request]) -> None:
        """Answer every request of `group`, with an error if a call of the backend raises."""
        try:
            for request, found in zip(group, await self._ask(group), strict=True):
                if request.answer.done():
                    continue
                if len(group) > 1 and any(map(_is_suspect, found)):
                    # one of them may have killed the replica: send each alone to find out which
                    [found] = await self._ask([request])
                if not request.answer.done():
                    request.answer.set_result(found)
        except Exception as error:
            for request in group:
                if not request.answer.done():
                    request.answer.set_exception(error)

    async def _ask(self, group: list[_Request]) -> list[list[Result]]:
        """The results of each request, by one call of the backend."""
        found = iter(
            await self._backend.transcribe(
                [record for request in group for record in request.records],
                _traced(group[0].options, [(each.trace, len(each.records)) for each in group]),
                [clip for request in group for clip in request.clips],
            )
        )
        return [[next(found) for _ in request.records] for request in group]


def _traced(options: CallOptions, traces: Sequence[tuple[str | None, int]]) -> CallOptions:
    """`options` with the contexts of requests, each of so many records of the list, in order.

    Those that the caller itself has given stay.
    """
    places = [trace for trace, count in traces for _ in range(count)]
    found = {place: trace for place, trace in enumerate(places) if trace is not None}
    if options.traces is not None or not found:
        return options
    return replace(options, traces=found)


def _abandon(
    call: asyncio.Task[None], group: Sequence[_Request], _: asyncio.Future[list[Result]]
) -> None:
    """Cancel a call if no request waits for its results any more."""
    if all(request.answer.cancelled() for request in group):
        call.cancel()


def _is_suspect(result: Result) -> bool:
    return isinstance(result, RecordError) and result.failure is FailureClass.SUSPECT
