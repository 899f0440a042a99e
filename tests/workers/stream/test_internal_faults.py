"""A bug of Chorus over one record is that record's dead letter; the others go on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from schemas.dead_letter import from_headers
from schemas.failures import ErrorCode
from schemas.manifest import ManifestRecord, decode_manifest
from serve_app.router.results import Result
from tests.workers.stream.clusters import AnyCluster, Bench
from tests.workers.stream.support import StandInRouter, done, transcript_of, wait_until

NAMES = [f"r{number}" for number in range(20)]


@pytest.fixture
def bench(cluster: AnyCluster) -> Bench:
    return Bench(cluster)


class Unencodable(StandInRouter):
    """Its transcripts of "r7" cannot be written as JSON."""

    async def answer(self, records: Sequence[ManifestRecord]) -> list[Result]:
        results = await super().answer(records)
        for number, record in enumerate(records):
            if record.id == "r7":
                record.extra["odd"] = object()
                results[number] = transcript_of(record)
        return results


class Unscored(StandInRouter):
    """Its transcripts of "r7" cannot be summed up."""

    async def answer(self, records: Sequence[ManifestRecord]) -> list[Result]:
        fields: dict[str, Any] = {"word_errors": "many", "reference_words": 3}
        return [transcript_of(r, **(fields if r.id == "r7" else {})) for r in records]


@pytest.mark.parametrize("backend", [Unencodable(), Unscored()], ids=["encoding", "metrics"])
def test_a_result_that_cannot_be_published(
    bench: Bench, backend: StandInRouter, caplog: pytest.LogCaptureFixture
) -> None:
    settings = bench.settings(partitions=1)
    bench.send(settings, NAMES)
    with bench.running(settings, backend) as worker:
        wait_until(lambda: done(worker) == len(NAMES))
        assert worker.stats().recoveries == 0
    assert bench.transcript_ids(settings) == Counter(set(NAMES) - {"r7"})
    (letter,) = bench.dead_letters(settings)
    view = from_headers(letter.headers)
    assert (view.id, view.code) == ("r7", ErrorCode.INTERNAL_FAULT)
    assert "-0-7: internal error" in caplog.text
    assert bench.all_committed(settings)


def test_a_record_that_cannot_be_decoded_for_a_bug(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def decode(value: bytes, default_id: str) -> ManifestRecord:
        if b'"r7"' in value:
            raise KeyError("secret")
        return decode_manifest(value, default_id=default_id)

    monkeypatch.setattr("workers.stream.decoding.decode_manifest", decode)
    settings = bench.settings(partitions=1)
    bench.send(settings, NAMES)
    with bench.running(settings, StandInRouter()) as worker:
        wait_until(lambda: done(worker) == len(NAMES))
    (letter,) = bench.dead_letters(settings)
    assert from_headers(letter.headers).code is ErrorCode.INTERNAL_FAULT
    assert "KeyError, raised through" in caplog.text
    assert "secret" not in caplog.text
