from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from schemas.requests import Backlog
from schemas.settings import StreamSettings
from schemas.settings.stream import StreamAutoscaling
from tests.clock import Clock
from workers.kafka.partition_offsets import PartitionOffsets
from workers.stream.backlog_watch import BacklogCounter, BacklogWatch

STREAM = StreamSettings(catch_up_s=60.0, autoscaling=StreamAutoscaling(records_per_worker=500))


def offsets(*ends: int, committed: int = 0) -> list[PartitionOffsets]:
    return [
        PartitionOffsets(partition=number, start=0, end=end, committed=committed)
        for number, end in enumerate(ends)
    ]


def test_what_waits_and_what_arrives() -> None:
    clock = Clock()
    counter = BacklogCounter(STREAM, clock)
    assert counter.count(offsets(50, 70, committed=20)) == Backlog(
        records=80, arriving=0.0, partitions=2, catch_up_s=60.0, records_per_worker=500
    )
    clock.now += 10
    assert counter.count(offsets(80, 90)).arriving == pytest.approx(5.0)


def test_what_arrives_is_of_the_last_minute() -> None:
    clock = Clock()
    counter = BacklogCounter(STREAM, clock)
    found = []
    for step in range(30):
        found.append(counter.count(offsets(100 * min(step, 10))).arriving)
        clock.now += 10
    assert found[5] == pytest.approx(10.0)
    assert found[13] == pytest.approx(5.0)  # half of the minute
    assert found[17] == 0.0


def test_a_topic_made_again_or_larger_brings_no_flood() -> None:
    clock = Clock()
    counter = BacklogCounter(STREAM, clock)
    counter.count(offsets(1_000_000))
    clock.now += 10
    assert counter.count(offsets(0)).arriving == 0.0
    counter = BacklogCounter(STREAM, clock)
    counter.count(offsets(10))
    clock.now += 10
    assert counter.count(offsets(10, 5_000)).arriving == 0.0


class Scene:
    """A watch, and what it sees and says."""

    def __init__(self) -> None:
        self.mine = True
        self.fault: Exception | None = None
        self.looks = 0
        self.looked = threading.Condition()
        self.told: list[Backlog] = []
        self.watch = BacklogWatch(
            BacklogCounter(STREAM),
            mine=lambda: self.mine,
            look=self._look,
            tell=self.told.append,
            interval_s=0.001,
        )

    def _look(self) -> Sequence[PartitionOffsets]:
        with self.looked:
            self.looks += 1
            self.looked.notify_all()
        if self.fault is not None:
            raise self.fault
        return offsets(9)

    def wait(self, more: int = 2) -> None:
        with self.looked:
            wanted = self.looks + more
            assert self.looked.wait_for(lambda: self.looks >= wanted, timeout=10)


def test_it_is_told_again_and_again_and_a_fault_once(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    scene.watch.start()
    scene.wait(3)
    assert scene.told[0].records == 9
    scene.fault = ConnectionError("no broker")
    scene.wait(3)
    told = len(scene.told)
    scene.wait(3)
    assert len(scene.told) == told, "what was told last holds"
    assert [each.getMessage() for each in caplog.records] == [
        "what waits for the group cannot be seen (ConnectionError)"
    ]
    scene.fault = None
    scene.wait(3)
    assert len(scene.told) > told
    scene.watch.stop()


def test_only_one_worker_of_a_group_looks() -> None:
    scene = Scene()
    scene.mine = False
    scene.watch.start()
    scene.watch._thread.join(timeout=0.1)
    assert scene.looks == 0
    scene.mine = True
    scene.wait()
    scene.watch.stop()
    scene.watch._thread.join(timeout=10)
    assert not scene.watch._thread.is_alive()
