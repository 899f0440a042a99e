from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from schemas.failures import ErrorCode, FailureClass, RecordError
from schemas.settings import StreamSettings
from schemas.transcript import Transcript
from tests.workers.stream.support import QUICK, StandInRouter, a_work, wait_until
from workers.stream.breaker import State
from workers.stream.dispatcher import Dispatcher
from workers.stream.work import Work


@contextmanager
def dispatching(
    backend: StandInRouter, current=lambda work: True, **stream
) -> Iterator[Dispatcher]:
    dispatcher = Dispatcher(backend, StreamSettings(**{**QUICK, **stream}), current)
    dispatcher.start()
    try:
        yield dispatcher
    finally:
        dispatcher.stop()


def batches_of(count: int, size: int = 4) -> list[list[Work]]:
    works = [a_work(f"r{number}", offset=number) for number in range(count)]
    return [works[start : start + size] for start in range(0, count, size)]


def collect(dispatcher: Dispatcher, count: int) -> dict[str, Work]:
    found: dict[str, Work] = {}
    while len(found) < count:
        for work in dispatcher.finished.get(timeout=20):
            assert work.record.id not in found, "finished twice"
            found[work.record.id] = work
    return found


def test_every_work_gets_its_own_result():
    with dispatching(StandInRouter()) as dispatcher:
        dispatcher.submit(batches_of(20))
        for id_, work in collect(dispatcher, 20).items():
            assert isinstance(work.outcome, Transcript)
            assert work.outcome.pred_text == f"heard {id_}"
            assert work.finished > 0


def test_no_more_calls_at_once_than_allowed():
    class Counting(StandInRouter):
        now = most = 0

        async def transcribe(self, records):
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0.02)
            self.now -= 1
            return await super().transcribe(records)

    backend = Counting()
    with dispatching(backend, batches_in_flight=3) as dispatcher:
        dispatcher.submit(batches_of(60))
        collect(dispatcher, 60)
    assert backend.most == 3


def test_poison_is_final_and_its_neighbours_do_not_suffer():
    backend = StandInRouter()
    backend.poison = {"r2"}
    with dispatching(backend) as dispatcher:
        dispatcher.submit(batches_of(8))
        found = collect(dispatcher, 8)
    assert found["r2"].outcome.code is ErrorCode.AUDIO_MISSING
    assert sum(work.dead for work in found.values()) == 1
    assert len(backend.calls) == 2  # nothing was tried again


def test_a_retryable_record_is_tried_until_it_succeeds():
    backend = StandInRouter()
    backend.blocked = {"r1"}
    with dispatching(backend) as dispatcher:
        dispatcher.submit(batches_of(4))
        assert set(collect(dispatcher, 3)) == {"r0", "r2", "r3"}
        wait_until(lambda: sum("r1" in call for call in backend.calls) >= 10)
        assert dispatcher.breaker is State.CLOSED
        backend.blocked = set()
        (work,) = collect(dispatcher, 1).values()
    assert work.attempts > 10
    assert not work.dead


def test_the_breaker_opens_in_an_outage_and_nothing_is_given_up():
    backend = StandInRouter()
    backend.down.set()
    with dispatching(backend) as dispatcher:
        dispatcher.submit(batches_of(40))
        wait_until(lambda: dispatcher.breaker is State.OPEN and dispatcher.running == 0)
        probes = backend.probes
        calls = len(backend.calls)
        wait_until(lambda: backend.probes >= probes + 5)
        assert len(backend.calls) == calls, "an open breaker let a call through"
        assert dispatcher.finished.empty()
        backend.down.clear()
        found = collect(dispatcher, 40)
        assert dispatcher.breaker is State.CLOSED
    assert not any(work.dead for work in found.values())


def test_a_call_that_raises_or_hangs_is_tried_again():
    class Moody(StandInRouter):
        async def transcribe(self, records):
            if len(self.calls) < 2:
                self.calls.append([])
                if len(self.calls) == 1:
                    raise RuntimeError("the stand-in is moody")
                await asyncio.sleep(3600)
            return await super().transcribe(records)

    with dispatching(Moody(), call_timeout_s=0.2) as dispatcher:
        dispatcher.submit(batches_of(4))
        found = collect(dispatcher, 4)
    assert {work.attempts for work in found.values()} == {3}


def test_a_result_list_of_the_wrong_length_is_not_believed():
    class Short(StandInRouter):
        async def transcribe(self, records):
            results = await super().transcribe(records)
            return results[1:] if len(self.calls) == 1 else results

    with dispatching(Short()) as dispatcher:
        dispatcher.submit(batches_of(4))
        for id_, work in collect(dispatcher, 4).items():
            assert work.outcome.pred_text == f"heard {id_}"


def test_out_of_memory_is_tried_again_in_halves():
    class Small(StandInRouter):
        async def transcribe(self, records):
            if len(records) > 2:
                self.calls.append([record.id for record in records])
                code = ErrorCode.MODEL_OUT_OF_MEMORY
                return [RecordError(id=r.id, code=code, message="") for r in records]
            return await super().transcribe(records)

    backend = Small()
    with dispatching(backend) as dispatcher:
        dispatcher.submit(batches_of(8, size=8))
        assert not any(work.dead for work in collect(dispatcher, 8).values())
    assert sorted(map(len, backend.calls)) == [2, 2, 2, 2, 4, 4, 8]


@pytest.mark.parametrize("code", [ErrorCode.MODEL_DIED, ErrorCode.ROUTER_DIED])
def test_bisecting_finds_exactly_the_killers(code):
    backend = StandInRouter(delay_s=0.005)
    backend.death = code
    backend.killers = {"r5", "r23"}
    with dispatching(backend, suspect_attempts=3) as dispatcher:
        dispatcher.submit(batches_of(64, size=16))
        found = collect(dispatcher, 64)
    assert {id_ for id_, work in found.items() if work.dead} == backend.killers
    for id_ in backend.killers:
        error = found[id_].outcome
        assert (error.code, error.failure) == (code, FailureClass.SUSPECT)
        assert error.model == "general"
        assert found[id_].deaths == 3


def test_a_death_while_others_were_under_way_is_no_evidence():
    """Random kills of replicas under load never give up a good record."""

    class Fragile(StandInRouter):
        kills = 40

        async def transcribe(self, records):
            if self.kills and len(self.calls) % 2 == 0:
                self.kills -= 1
                self._deaths += 1  # kills every call that is under way
            return await super().transcribe(records)

    backend = Fragile(delay_s=0.002)
    with dispatching(backend, suspect_attempts=2) as dispatcher:
        dispatcher.submit(batches_of(200))
        found = collect(dispatcher, 200)
    assert backend.kills == 0
    assert not any(work.dead for work in found.values())


def test_suspects_wait_for_a_good_probe():
    class Recovering(StandInRouter):
        recovered = False

        async def probe(self):
            sign = await super().probe()
            sign.alive = self.recovered
            return sign

    backend = Recovering()
    backend.killers = {"r0"}
    with dispatching(backend, suspect_attempts=2) as dispatcher:
        dispatcher.submit([[a_work("r0")]])
        wait_until(lambda: backend.probes > 5)
        assert backend.calls == [["r0"]]  # the first one; it is no evidence
        backend.recovered = True
        (work,) = collect(dispatcher, 1).values()
    assert work.dead
    assert len(backend.calls) == 3


def test_work_whose_partition_is_gone_is_dropped():
    gone: set[str] = {"r0", "r1"}
    backend = StandInRouter()
    with dispatching(backend, lambda work: work.record.id not in gone) as dispatcher:
        dispatcher.submit(batches_of(4))
        assert set(collect(dispatcher, 2)) == {"r2", "r3"}
    assert backend.calls == [["r2", "r3"]]


def test_a_drain_ends_the_calls_under_way_and_starts_none():
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
def test_idle_slots_count_what_was_submitted(count):
    backend = StandInRouter(delay_s=0.5)
    with dispatching(backend, batches_in_flight=4) as dispatcher:
        dispatcher.submit(batches_of(4 * count))
        assert dispatcher.idle_slots == max(0, 4 - count)
