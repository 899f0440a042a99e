"""Who is to blame where replicas die under several requests."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from schemas.failures import ErrorCode, RecordError
from schemas.manifest import ManifestRecord
from schemas.requests import DEFAULT_OPTIONS, CallOptions
from schemas.transcript import Transcript
from serve_app.audio.clip import Recording
from serve_app.http.retries import MAX_DEATHS, PatientRouter
from serve_app.router.protocol import Probe
from serve_app.router.results import Result
from tests.workers.stream.support import transcript_of


class OneReplica:
    """A Router whose only model dies with all calls under way when it comes to `killer`.

    Attributes:
        killer: id of a record.
        deaths: of the replica.
    """

    def __init__(self, killer: str) -> None:
        self.killer = killer
        self.deaths = 0

    async def transcribe(
        self,
        records: Sequence[ManifestRecord],
        options: CallOptions = DEFAULT_OPTIONS,
        clips: Sequence[Recording] | None = None,
    ) -> list[Result]:
        before = self.deaths
        await asyncio.sleep(0)  # all that are called now are in one batch
        if any(record.id == self.killer for record in records):
            self.deaths += 1
        await asyncio.sleep(0)
        if self.deaths == before:
            return [transcript_of(record) for record in records]
        return [
            RecordError(id=record.id, code=ErrorCode.MODEL_DIED, message="died")
            for record in records
        ]

    async def probe(self, timeout_s: float = 5.0) -> Probe:
        return Probe(router=True)


async def test_requests_beside_one_that_kills_replicas_are_not_to_blame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serve_app.http.retries.FIRST_PAUSE_S", 0.0)
    backend = OneReplica("killer")
    router = PatientRouter(backend)
    names = ["a", "killer", "b", "c"]
    calls = [router.transcribe([ManifestRecord(id=n, audio_filepath="x")]) for n in names]
    found = [result for [result] in await asyncio.gather(*calls)]
    assert [isinstance(result, Transcript) for result in found] == [True, False, True, True]
    assert backend.deaths == MAX_DEATHS
