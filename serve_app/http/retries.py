"""Ask the Router again while a part of the service is down."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import nullcontext

from msgspec.structs import replace

from schemas.failures import FailureClass, RecordError
from schemas.manifest import ManifestRecord
from schemas.requests import DEFAULT_OPTIONS, CallOptions
from schemas.transcript import Transcript
from serve_app.audio.clip import Recording
from serve_app.router.protocol import Backend
from serve_app.router.results import Result

#: Seconds for which failures of the service are retried, and the first pause.
RETRY_S, FIRST_PAUSE_S = 15.0, 0.3
#: Deaths of replicas that worked on a record, or failures of their engines, after which it is
#: given up.
MAX_DEATHS = 2


class PatientRouter:
    """Asks the Router again for records that fail through no fault of theirs.

    A suspect is tried again alone, since another record may be the cause, until it has been one
    `MAX_DEATHS` times, and no more, lest it harms others. There is one at a time of all requests.

    Args:
        backend: the Router.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._alone = asyncio.Lock()

    async def transcribe(
        self,
        records: Sequence[ManifestRecord],
        options: CallOptions = DEFAULT_OPTIONS,
        clips: Sequence[Recording] | None = None,
        *,
        together: bool = False,
        retry_s: float | None = None,
    ) -> list[Result]:
        """A result per record, the last error where there is no transcript.

        Args:
            records: the records.
            options: of the call.
            clips: the records' audio at `SAMPLE_RATE`, if no files are to be read.
            together: whether the others are of no use once one record has failed for good.
            retry_s: longest time for retries; `RETRY_S` by default.
        """
        found: dict[int, Result] = {}
        deaths = [0] * len(records)
        groups = deque([list(range(len(records)))] if records else [])
        pause = FIRST_PAUSE_S
        deadline = asyncio.get_running_loop().time() + (RETRY_S if retry_s is None else retry_s)
        while groups:
            group = groups.popleft()
            some = None if clips is None else [clips[i] for i in group]
            async with self._alone if any(deaths[i] for i in group) else nullcontext():
                results = await self._backend.transcribe([records[i] for i in group], options, some)
            late = asyncio.get_running_loop().time() + pause > deadline
            again: list[int] = []
            suspects: list[list[int]] = []
            failed = False
            for index, result in zip(group, results, strict=True):
                found[index] = result
                if isinstance(result, Transcript):
                    continue
                if result.failure is FailureClass.SUSPECT:
                    deaths[index] += 1
                    if len(group) > 1 or deaths[index] < MAX_DEATHS:
                        suspects.append([index])
                        continue
                    found[index] = _given_up(result)
                    failed = True
                elif result.failure is FailureClass.POISON or late:
                    failed = True
                else:
                    again.append(index)
            if together and failed:
                break
            groups.extend([again] if again else [])
            groups.extend(suspects)
            if again or suspects:
                await asyncio.sleep(pause)
                pause *= 2
        return [found[index] for index in range(len(records))]


def _given_up(error: RecordError) -> RecordError:
    return replace(error, message=f"{error.message}; tried {MAX_DEATHS} times")


def is_outage(result: Result) -> bool:
    """Whether a record failed through no fault of its own."""
    return isinstance(result, RecordError) and result.failure is FailureClass.RETRYABLE
