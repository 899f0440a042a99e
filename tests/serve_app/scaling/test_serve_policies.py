"""The policies as Serve calls them: what they go by, and that nothing gets out of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from schemas.requests import Backlog
from serve_app.scaling import demand_reader, serve_policies
from serve_app.scaling.demand import Demand
from serve_app.scaling.demand_reader import HOLD_S, LOOK_S, DemandReader
from serve_app.scaling.figures import BUSY, RTFX, STREAMED
from serve_app.scaling.serve_policies import ModelPolicy, WorkerPolicy
from tests.clock import Clock


def demand(records: int = 0, arriving: float = 0.0, **audio_s: float) -> Demand:
    backlog = Backlog(
        records=records,
        arriving=arriving,
        partitions=6,
        catch_up_s=100.0,
        records_per_worker=2000,
    )
    return Demand(at=0.0, backlog=backlog, audio_s=audio_s)


def context(current: int, requests: float = 0.0, **told: float) -> Any:
    return SimpleNamespace(
        target_num_replicas=current,
        total_num_requests=requests,
        aggregated_metrics={name: {"replica": value} for name, value in told.items()},
        config=SimpleNamespace(target_ongoing_requests=2.0),
    )


class Noted:
    """What is noted on the cluster."""

    def __init__(self) -> None:
        self.demands: dict[str, Demand] = {}
        self.fault: Exception | None = None

    def read(self, app: str) -> Mapping[str, Demand]:
        assert app == "app"
        if self.fault is not None:
            raise self.fault
        return self.demands


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> Noted:
    found = Noted()
    monkeypatch.setattr(demand_reader, "demands", found.read)
    monkeypatch.setattr(demand_reader, "_readers", {})
    return found


def settle(policy: Callable[[Any], tuple[int, dict[str, Any]]], given: Any) -> int:
    """What it says once it has read what is noted."""
    policy(given)
    until = time.monotonic() + 5
    while any(each.name == "demand" for each in threading.enumerate()):
        assert time.monotonic() < until
        time.sleep(0.001)
    return policy(given)[0]


def test_a_model_is_scaled_by_its_share_of_a_stream(noted: Noted) -> None:
    # 3 s of audio per record: 600 s per second arrive, and 300 s per second are behind
    noted.demands = {"group": demand(records=10_000, arriving=200.0, general=3.0, medical=0.03)}
    assert settle(ModelPolicy("app", "general"), context(1, rtfx=100.0)) == 9
    assert settle(ModelPolicy("app", "medical"), context(1, rtfx=100.0)) == 1
    assert settle(ModelPolicy("app", "other"), context(1, rtfx=100.0)) == 0


def test_what_several_groups_want_adds_up(noted: Noted) -> None:
    noted.demands = {
        "a": demand(arriving=100.0, general=2.0),
        "b": demand(arriving=10.0, general=30.0),
    }
    assert settle(ModelPolicy("app", "general"), context(1, rtfx=100.0)) == 5


def test_calls_that_are_of_no_stream_count_as_such(noted: Noted) -> None:
    policy = ModelPolicy("app", "general")
    assert settle(policy, context(1, requests=9.0, **{STREAMED: 3.0})) == 3
    assert settle(policy, context(3, requests=3.0, **{STREAMED: 3.0})) == 0


def test_requests_come_on_top_of_a_stream(noted: Noted) -> None:
    noted.demands = {"group": demand(arriving=200.0, general=1.0)}
    both = context(1, requests=9.0, **{STREAMED: 3.0, RTFX: 100.0})
    assert settle(ModelPolicy("app", "general"), both) == 5


def test_the_speed_is_the_mean_of_the_replicas_that_work(noted: Noted) -> None:
    noted.demands = {"group": demand(arriving=600.0, general=1.0)}
    given = context(1)
    given.aggregated_metrics = {RTFX: {"a": 50.0, "b": 150.0, "c": 0.0}}
    assert settle(ModelPolicy("app", "general"), given) == 6


def test_before_anything_was_transcribed_all_stays(noted: Noted) -> None:
    noted.demands = {"group": demand(records=10_000, arriving=10.0, general=1.0)}
    assert settle(ModelPolicy("app", "general"), context(4)) == 4


def test_workers_follow_what_waits_up_to_the_partitions(noted: Noted) -> None:
    for records, wanted in ((0, 0), (100, 1), (9_000, 5), (1_000_000, 6)):
        noted.demands = {"group": demand(records=records)}
        policy = WorkerPolicy("app", "group")
        assert settle(policy, context(1)) == wanted
        demand_reader._readers.clear()
    # two workers' worth of calls are under way
    noted.demands = {"group": demand(records=100)}
    assert settle(WorkerPolicy("app", "group"), context(3, **{BUSY: 1.9})) == 3
    assert settle(WorkerPolicy("app", "group"), context(3, **{BUSY: 1.6})) == 2
    assert settle(WorkerPolicy("app", "group"), context(1, **{BUSY: 9.0})) == 1
    # of a group of which nothing is known, Serve keeps the least number
    assert settle(WorkerPolicy("app", "another"), context(2)) == 0


def test_no_exception_gets_out(noted: Noted, caplog: pytest.LogCaptureFixture) -> None:
    policy = ModelPolicy("app", "general")
    for _ in range(3):
        assert policy(SimpleNamespace(target_num_replicas=3)) == (3, {})
    assert len([each for each in caplog.records if each.name == serve_policies.__name__]) == 1
    noted.fault = ConnectionError("the head is away")
    assert settle(policy, context(3, requests=8.0)) == 4


def test_one_reader_for_all_policies_of_an_application(noted: Noted) -> None:
    first, second = ModelPolicy("app", "a"), WorkerPolicy("app", "group")
    assert first._reader is second._reader
    assert ModelPolicy("other", "a")._reader is not first._reader


def test_the_reader_never_waits() -> None:
    hang = threading.Event()
    calls: list[int] = []

    def read() -> Mapping[str, Demand]:
        calls.append(1)
        hang.wait(10)
        return {}

    clock = Clock(0.0)
    reader = DemandReader(read, clock)
    begin = time.monotonic()
    for _ in range(5):
        assert reader.latest() == {}
        clock.now += 2 * LOOK_S
    assert time.monotonic() - begin < 5
    assert len(calls) == 1, "one look at a time"
    hang.set()


def test_the_last_value_is_kept_and_then_given_up() -> None:
    noted = Noted()
    noted.demands = {"group": demand(records=7)}
    clock = Clock(0.0)
    reader = DemandReader(lambda: noted.read("app"), clock)

    def latest(at: float) -> dict[str, Demand]:
        clock.now = at
        reader.latest()
        with reader._looking:  # the look that it began has ended
            pass
        return reader.latest()

    assert latest(10.0) == noted.demands
    noted.fault = ConnectionError()
    assert latest(HOLD_S) == noted.demands
    noted.fault = None  # it can be read again, but nobody renews it
    assert latest(HOLD_S + 9.0) == noted.demands
    assert latest(HOLD_S + 20.0) == {}
    noted.demands = {"group": demand(records=8)}
    assert latest(HOLD_S + 30.0) == noted.demands
