from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from schemas.failures import ErrorCode, FailureClass, RecordError
from schemas.manifest import ManifestRecord
from schemas.settings import StreamSettings
from schemas.transcript import Transcript
from serve_app.router.protocol import Probe
from serve_app.router.results import Result
from tests.workers.stream.support import (
    QUICK,
    StandInRouter,
    a_pending_record,
    error_of,
    manifest_of,
    wait_until,
)
from workers.stream.circuit_breaker import BreakerState
from workers.stream.dispatcher import Dispatcher
from workers.stream.pending_record import PendingRecord


@contextmanager
def dispatching(
    backend: StandInRouter,
    current: Callable[[PendingRecord], bool] = lambda record: True,
    **stream: Any,
) -> Iterator[Dispatcher]:
    dispatcher = Dispatcher(backend, StreamSettings(**{**QUICK, **stream}), current)
    dispatcher.start()
    try:
        yield dispatcher
    finally:
        dispatcher.stop()


def batches_of(count: int, size: int = 4) -> list[list[PendingRecord]]:
    records = [a_pending_record(f"r{number}", offset=number) for number in range(count)]
    return [records[start : start + size] for start in range(0, count, size)]


def collect(dispatcher: Dispatcher, count: int) -> dict[str, PendingRecord]:
    found: dict[str, PendingRecord] = {}
    while len(found) < count:
        for record in dispatcher.finished.get(timeout=20):
            id_ = manifest_of(record).id
            assert id_ not in found, "finished twice"
            found[id_] = record
    return found


def test_every_work_gets_its_own_result() -> None:
    with dispatching(StandInRouter()) as dispatcher:
        dispatcher.submit(batches_of(20))
        for id_, record in collect(dispatcher, 20).items():
            assert isinstance(record.outcome, Transcript)
            assert record.outcome.pred_text == f"heard {id_}"
            assert record.finished > 0


def test_no_more_calls_at_once_than_allowed() -> None:
    class Counting(StandInRouter):
        now = most = 0

        async def answer(self, records: Sequence[ManifestRecord]) -> list[Result]:
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0.02)
            self.now -= 1
            return await super().answer(records)

    backend = Counting()
    with dispatching(backend, batches_in_flight=3) as dispatcher:
        dispatcher.submit(batches_of(60))
        collect(dispatcher, 60)
    assert backend.most == 3


def test_poison_is_final_and_its_neighbours_do_not_suffer() -> None:
    backend = StandInRouter()
    backend.poison = {"r2"}
    with dispatching(backend) as dispatcher:
        dispatcher.submit(batches_of(8))
        found = collect(dispatcher, 8)
    assert error_of(found["r2"]).code is ErrorCode.AUDIO_MISSING
    assert sum(record.dead for record in found.values()) == 1
    assert len(backend.calls) == 2  # nothing was tried again


def test_a_retryable_record_is_tried_until_it_succeeds() -> None:
    backend = StandInRouter()
    backend.blocked = {"r1"}
    with dispatching(backend) as dispatcher:
        dispatcher.submit(batches_of(4))
        assert set(collect(dispatcher, 3)) == {"r0", "r2", "r3"}
        wait_until(lambda: sum("r1" in call for call in backend.calls) >= 10)
        assert dispatcher.breaker is BreakerState.CLOSED
        backend.blocked = set()
        (record,) = collect(dispatcher, 1).values()
    assert record.attempts > 10
    assert not record.dead


def test_the_breaker_opens_in_an_outage_and_nothing_is_given_up() -> None:
    backend = StandInRouter()
    backend.down.set()
    with dispatching(backend) as dispatcher:
        dispatcher.submit(batches_of(40))
        wait_until(lambda: dispatcher.breaker is BreakerState.OPEN and dispatcher.running == 0)
        probes = backend.probes
        calls = len(backend.calls)
        wait_until(lambda: backend.probes >= probes + 5)
        assert len(backend.calls) == calls, "an open breaker let a call through"
        assert dispatcher.finished.empty()
        backend.down.clear()
        found = collect(dispatcher, 40)
        assert dispatcher.breaker is BreakerState.CLOSED
    assert not any(record.dead for record in found.values())


def test_a_backend_that_cannot_be_reached_opens_the_breaker_by_one_group_and_splits_none() -> None:
    class Gone(StandInRouter):
        there = False

        async def answer(self, records: Sequence[ManifestRecord]) -> list[Result]:
            if not self.there:
                self.calls.append([record.id for record in records])
                raise ConnectionError("refused")
            return await super().answer(records)

    backend = Gone()  # its probes are good
    with dispatching(backend) as dispatcher:
        dispatcher.submit(batches_of(4))
        wait_until(lambda: dispatcher.breaker is not BreakerState.CLOSED)
        wait_until(lambda: len(backend.calls) > 6)
        backend.there = True
        collect(dispatcher, 4)
    assert {len(ids) for ids in backend.calls} == {4}


def test_a_call_that_raises_or_hangs_is_tried_again() -> None:
    class Moody(StandInRouter):
        async def answer(self, records: Sequence[ManifestRecord]) -> list[Result]:
            if len(self.calls) < 2:
                self.calls.append([])
                if len(self.calls) == 1:
                    raise ConnectionError("the stand-in is moody")
                await asyncio.sleep(3600)
            return await super().answer(records)

    with dispatching(Moody(), call_timeout_s=0.2) as dispatcher:
        dispatcher.submit(batches_of(4))
        found = collect(dispatcher, 4)
    assert {record.attempts for record in found.values()} == {3}


def test_a_result_list_of_the_wrong_length_is_not_believed() -> None:
    class Short(StandInRouter):
        async def answer(self, records: Sequence[ManifestRecord]) -> list[Result]:
            results = await super().answer(records)
            return results[1:] if len(self.calls) == 1 else results

    with dispatching(Short()) as dispatcher:
        dispatcher.submit(batches_of(4))
        for id_, record in collect(dispatcher, 4).items():
            assert isinstance(record.outcome, Transcript)
            assert record.outcome.pred_text == f"heard {id_}"


def test_out_of_memory_is_tried_again_in_halves() -> None:
    class Small(StandInRouter):
        async def answer(self, records: Sequence[ManifestRecord]) -> list[Result]:
            if len(records) > 2:
                self.calls.append([record.id for record in records])
                code = ErrorCode.MODEL_OUT_OF_MEMORY
                return [RecordError(id=r.id, code=code, message="") for r in records]
            return await super().answer(records)

    backend = Small()
    with dispatching(backend) as dispatcher:
        dispatcher.submit(batches_of(8, size=8))
        assert not any(record.dead for record in collect(dispatcher, 8).values())
    assert sorted(map(len, backend.calls)) == [2, 2, 2, 2, 4, 4, 8]


@pytest.mark.parametrize(
    ("code", "told"),
    [(ErrorCode.MODEL_UNAVAILABLE, True), (ErrorCode.AUDIO_IO, False)],  # a message with a path
)
def test_why_records_are_tried_again_is_logged_without_their_data(
    code: ErrorCode, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    class Unable(StandInRouter):
        async def answer(self, records: Sequence[ManifestRecord]) -> list[Result]:
            self.calls.append([])
            if len(self.calls) > 10:
                return await super().answer(records)
            return [RecordError(id=r.id, code=code, message="a full disk") for r in records]

    with dispatching(Unable(), breaker_failures=9) as dispatcher:
        dispatcher.submit(batches_of(1))
        collect(dispatcher, 1)
    assert f"tried 10 times ({code}{': a full disk' if told else ''})" in caplog.text


def test_why_the_backend_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    backend = StandInRouter()
    backend.down.set()
    with dispatching(backend, breaker_failures=1) as dispatcher:
        dispatcher.submit(batches_of(1))
        wait_until(lambda: dispatcher.breaker is BreakerState.OPEN)
        backend.down.clear()
        collect(dispatcher, 1)
    assert "fails (model_unavailable: model_unavailable in the stand-in); fetch" in caplog.text


@pytest.mark.parametrize("code", [ErrorCode.MODEL_DIED, ErrorCode.ROUTER_DIED])
def test_bisecting_finds_exactly_the_killers(code: ErrorCode) -> None:
    backend = StandInRouter(delay_s=0.005)
    backend.death = code
    backend.killers = {"r5", "r23"}
    with dispatching(backend, suspect_attempts=3) as dispatcher:
        dispatcher.submit(batches_of(64, size=16))
        found = collect(dispatcher, 64)
    assert {id_ for id_, record in found.items() if record.dead} == backend.killers
    for id_ in backend.killers:
        error = error_of(found[id_])
        assert (error.code, error.failure) == (code, FailureClass.SUSPECT)
        assert error.model == "general"
        assert error.message == f"{code} in the stand-in (3 times, alone)", "it names the cause"
        assert found[id_].deaths == 3


def test_what_an_engine_always_fails_on_is_given_up_with_its_reason() -> None:
    class Faulty(StandInRouter):
        async def answer(self, records: Sequence[ManifestRecord]) -> list[Result]:
            found = await super().answer(records)
            message = "model general: the engine x:Y fails on this clip: TypeError"
            return [
                RecordError(id=each.id, code=ErrorCode.MODEL_FAULT, message=message)
                if each.id == "r5"
                else each
                for each in found
            ]

    with dispatching(Faulty(), suspect_attempts=3, breaker_failures=1) as dispatcher:
        dispatcher.submit(batches_of(8, size=4))
        found = collect(dispatcher, 8)
        assert dispatcher.breaker is BreakerState.CLOSED
    assert [id_ for id_, each in found.items() if each.dead] == ["r5"]
    error = error_of(found["r5"])
    assert error.code is ErrorCode.MODEL_FAULT
    assert error.message.endswith("x:Y fails on this clip: TypeError (3 times, alone)")


@pytest.mark.parametrize("answer", [TypeError("secret"), [None]])
def test_a_record_that_makes_calls_fail_on_a_bug_is_found_and_given_up(
    answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Buggy(StandInRouter):
        async def answer(self, records: Sequence[ManifestRecord]) -> list[Result]:
            results = await super().answer(records)
            if not any(record.id == "r5" for record in records):
                return results
            if isinstance(answer, Exception):
                raise answer
            return [*results[1:], *answer]

    with dispatching(Buggy(), suspect_attempts=3) as dispatcher:
        dispatcher.submit(batches_of(32, size=16))
        found = collect(dispatcher, 32)
        assert dispatcher.breaker is BreakerState.CLOSED
    assert {id_ for id_, record in found.items() if record.dead} == {"r5"}
    error = error_of(found["r5"])
    assert error.code is ErrorCode.INTERNAL_FAULT
    assert "Chorus failed" in error.message
    assert found["r5"].deaths == 3
    assert "TypeError, raised through" in caplog.text
    assert " in transcribe" in caplog.text
    assert "secret" not in caplog.text


def test_a_death_while_others_were_under_way_is_no_evidence() -> None:
    """Random kills of replicas under load never give up a good record."""

    class Fragile(StandInRouter):
        kills = 40

        async def answer(self, records: Sequence[ManifestRecord]) -> list[Result]:
            if self.kills and len(self.calls) % 2 == 0:
                self.kills -= 1
                self._deaths += 1  # kills every call that is under way
            return await super().answer(records)

    backend = Fragile(delay_s=0.002)
    with dispatching(backend, suspect_attempts=2) as dispatcher:
        dispatcher.submit(batches_of(200))
        found = collect(dispatcher, 200)
    assert backend.kills == 0
    assert not any(record.dead for record in found.values())


def test_suspects_wait_for_a_good_probe() -> None:
    class Recovering(StandInRouter):
        recovered = False

        async def probe(self, timeout_s: float = 5.0) -> Probe:
            await super().probe(timeout_s)
            return Probe(router=self.recovered)

    backend = Recovering()
    backend.killers = {"r0"}
    with dispatching(backend, suspect_attempts=2) as dispatcher:
        dispatcher.submit([[a_pending_record("r0")]])
        wait_until(lambda: backend.probes > 5)
        assert backend.calls == [["r0"]]  # the first one; it is no evidence
        backend.recovered = True
        (record,) = collect(dispatcher, 1).values()
    assert record.dead
    assert len(backend.calls) == 3


def test_work_whose_partition_is_gone_is_dropped() -> None:
    gone: set[str] = {"r0", "r1"}
    backend = StandInRouter()
    with dispatching(backend, lambda record: manifest_of(record).id not in gone) as dispatcher:
        dispatcher.submit(batches_of(4))
        assert set(collect(dispatcher, 2)) == {"r2", "r3"}
    assert backend.calls == [["r2", "r3"]]


def test_a_drain_ends_the_calls_under_way_and_starts_none() -> None:
    backend = StandInRouter(delay_s=0.2)
    with dispatching(backend, batches_in_flight=2) as dispatcher:
        dispatcher.submit(batches_of(40))
        wait_until(lambda: dispatcher.running == 2)
        dispatcher.drain()
        wait_until(lambda: dispatcher.running == 0)
        assert len(collect(dispatcher, 8)) == 8
        time.sleep(0.1)
        assert len(backend.calls) == 2


@pytest.mark.parametrize("count", [0, 5])
def test_idle_slots_count_what_was_submitted(count: int) -> None:
    backend = StandInRouter(delay_s=0.5)
    with dispatching(backend, batches_in_flight=4) as dispatcher:
        dispatcher.submit(batches_of(4 * count))
        assert dispatcher.idle_slots == max(0, 4 - count)
