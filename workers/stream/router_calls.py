"""One call of the Router at a time, whose failures are results as well."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import msgspec

from schemas.failures import ErrorCode, RecordError
from schemas.manifest import ManifestRecord
from schemas.requests import Backlog, CallOptions
from schemas.transcript import Transcript
from serve_app.router.protocol import Backend
from workers.stream.call_result import CallResult, classify
from workers.stream.internal_fault import log_frames
from workers.stream.pending_record import PendingRecord
from workers.stream.tracing import traces

log = logging.getLogger(__name__)

#: Longest wait for an answer to a probe; no answer is a no.
_PROBE_TIMEOUT_S = 10.0
_TELL_TIMEOUT_S = 10.0


class RouterCalls:
    """Calls `backend` with records.

    Args:
        backend: the Router; see `Backend`.
        timeout_s: longest wait for a call, in seconds.
        group: the consumer group, told to the Router.
    """

    def __init__(self, backend: Backend, timeout_s: float, group: str) -> None:
        self._backend = backend
        self._timeout_s = timeout_s
        self._options = CallOptions(group=group)

    async def transcribe(self, records: list[PendingRecord]) -> CallResult:
        """Transcribe `records`, which were decoded. Only a cancellation raises.

        What nobody expected makes suspects of them: one of them brings it out.
        """
        for record in records:
            record.attempts += 1
        manifests = [record.manifest for record in records if record.manifest is not None]
        answers: list[Transcript | RecordError]
        unreachable = False
        try:
            answers = await asyncio.wait_for(
                self._backend.transcribe(manifests, self._options_of(records)), self._timeout_s
            )
            _check(answers, len(records))
        except OSError as error:
            # one record may be what a call takes too long over
            unreachable = not isinstance(error, TimeoutError)
            reason = f"{type(error).__name__}: {error}"
            # the system's own messages may name files
            said = f"{error}" if error.errno is None else ""
            name = type(error).__name__
            log.warning("a call with %d records failed: %s", len(records), said or name)
            answers = _all(manifests, ErrorCode.ROUTER_UNAVAILABLE, reason)
        except Exception as error:
            log_frames(f"a call with {len(records)} records failed", error)
            reason = f"internal error in a call with this record ({type(error).__name__})"
            answers = _all(manifests, ErrorCode.INTERNAL_FAULT, reason)
        result = classify(records, answers)
        result.unreachable = unreachable
        return result

    def _options_of(self, records: Sequence[PendingRecord]) -> CallOptions:
        sampled = traces(records)
        if sampled is None:
            return self._options
        return msgspec.structs.replace(self._options, traces=sampled)

    async def tell(self, backlog: Backlog) -> None:
        """Tell the Router what waits; never raises."""
        options = msgspec.structs.replace(self._options, backlog=backlog)
        try:
            await asyncio.wait_for(self._backend.transcribe([], options), _TELL_TIMEOUT_S)
        except Exception as error:  # it will be told anew
            log.debug("the Router was not told what waits: %s", type(error).__name__)

    async def alive(self) -> bool:
        """Whether the Router and every model answer a probe in time."""
        try:
            answer = await asyncio.wait_for(self._backend.probe(), _PROBE_TIMEOUT_S)
            return answer.alive
        except Exception:
            return False


def _check(answers: Sequence[Any], count: int) -> None:
    """Raise where `answers` are not one result for each of `count` records."""
    if len(answers) != count:
        raise RuntimeError(f"{len(answers)} results for {count} records")
    for answer in answers:
        if not isinstance(answer, Transcript | RecordError):
            raise TypeError(f"a {type(answer).__name__} for a result")


def _all(manifests: Sequence[ManifestRecord], code: ErrorCode, reason: str) -> list[Any]:
    return [RecordError(id=manifest.id, code=code, message=reason) for manifest in manifests]
