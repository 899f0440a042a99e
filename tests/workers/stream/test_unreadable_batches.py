"""Batches that cannot be taken apart: named, not repeated for ever, and stepped over on purpose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Never

import msgspec
import pytest

from schemas.dead_letter import from_headers
from schemas.metrics import MetricsEvent
from tests.workers.cli.shell import Shell
from tests.workers.stream.clusters import AnyCluster, Bench, BrokerCluster
from tests.workers.stream.support import StandInRouter, done, manifest, wait_until
from workers import exit_codes
from workers.broker.cluster import Cluster


@pytest.fixture
def bench(cluster: AnyCluster) -> Bench:
    return Bench(cluster)


@pytest.fixture(autouse=True)
def unreadable_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the codec of `produce_unreadable` were not installed, or its data were damaged."""

    def broken(payload: bytes) -> Never:
        raise ValueError("secret")

    monkeypatch.setattr("kafka.record.default_records.gzip_decode", broken)


def test_a_batch_that_cannot_be_read_ends_the_worker_after_what_was_before_it(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    settings = bench.settings(partitions=2)
    before = [f"b{number}" for number in range(5)]
    bench.send(settings, before, partition=0)
    bench.cluster.produce_unreadable(settings, [manifest("lost0"), manifest("lost1")])
    bench.send(settings, ["after"], partition=0)
    topic = settings.kafka.topics.manifests
    for _ in range(2):
        caplog.clear()
        assert bench.worker(settings, StandInRouter()).run() == exit_codes.SETTINGS
        assert f"offsets 5 to 6 of topic {topic}, partition 0, cannot be read" in caplog.text
        assert "chorus offsets skip --partition 0 --offset 5" in caplog.text
        assert "secret" not in caplog.text
    assert bench.transcript_ids(settings) == Counter(before)
    assert bench.committed(settings)[0] == 5


@pytest.mark.kafka
def test_what_cannot_be_read_is_stepped_over_with_dead_letters(
    kafka: Cluster, unique: Callable[[str], str], tmp_path: Path
) -> None:
    bench = Bench(BrokerCluster(kafka, unique))
    settings = bench.settings(partitions=1)
    bench.send(settings, ["before"])
    bench.cluster.produce_unreadable(settings, [manifest("lost0"), manifest("lost1")])
    bench.send(settings, ["unwanted", "after"])
    shell = Shell(settings, tmp_path)
    skip = ("offsets", "skip", "--partition", "0", "--offset")
    too_early = shell.run(*skip, "1", code=exit_codes.SETTINGS)
    assert "the workers would read offset 0 of partition 0 next" in too_early
    assert bench.worker(settings, StandInRouter()).run() == exit_codes.SETTINGS
    assert "stepped over offsets 1 to 2, which cannot be read" in shell.run(*skip, "1")
    [skipped] = shell.json_lines(*skip, "3")
    assert skipped == {"partition": 0, "first": 3, "last": 3, "readable": True}
    with bench.running(settings, StandInRouter()) as worker:
        wait_until(lambda: done(worker) == 1)
    assert bench.transcript_ids(settings) == Counter(["before", "after"])
    letters = bench.dead_letters(settings)
    metrics = bench.cluster.read_all(settings, settings.kafka.topics.metrics)
    events = [msgspec.json.decode(each.value, type=MetricsEvent) for each in metrics]
    by_hand = [each for each in events if each.worker == "chorus offsets skip"]
    assert [each.dead_letters for each in by_hand] == [2, 1]
    assert all(each.interval_start < each.interval_end for each in by_hand)
    assert sum(each.dead_letters for each in events) == len(letters)
    assert sum(each.records for each in events) == 2
    views = [from_headers(letter.headers) for letter in letters]
    assert [(view.offset, view.code, view.value_omitted) for view in views] == [
        (1, "record_skipped", 0),
        (2, "record_skipped", 0),
        (3, "record_skipped", None),
    ]
    assert views[0].message.endswith("could not be read: ValueError")
    assert [letter.value for letter in letters] == [None, None, manifest("unwanted")]
    assert "nothing is left" in shell.run(*skip, "5", code=exit_codes.SETTINGS)
