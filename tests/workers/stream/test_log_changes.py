"""A log that changes behind the committed offsets: nothing is repeated, nothing lost unsaid."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tests.workers.stream.clusters import AnyCluster, Bench, InMemoryCluster
from tests.workers.stream.support import StandInRouter, done, manifest, wait_until
from workers import exit_codes


@pytest.fixture
def bench(cluster: AnyCluster) -> Bench:
    return Bench(cluster)


def ids(first: int, end: int) -> list[str]:
    return [f"r{number}" for number in range(first, end)]


def worked_through(bench: Bench, settings: object, names: list[str]) -> None:
    """Let a worker transcribe `names`, and stop it."""
    bench.send(settings, names)  # type: ignore[arg-type]
    with bench.running(settings, StandInRouter()) as worker:  # type: ignore[arg-type]
        wait_until(lambda: done(worker) == len(names))


def test_records_that_were_deleted_unread_stop_the_worker(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    settings = bench.settings(partitions=1)
    worked_through(bench, settings, ids(0, 20))
    bench.send(settings, ids(20, 60))
    bench.cluster.trim(settings, 0, 50)
    assert bench.worker(settings, StandInRouter()).run() == exit_codes.LOG_CHANGED
    assert "-0: 30 of its offsets were deleted before they were read" in caplog.text
    assert "20 would be read next, it has offsets 50 to 59 now" in caplog.text
    assert "chorus offsets" in caplog.text
    assert bench.committed(settings) == {0: 20}
    assert bench.transcript_ids(settings) == Counter(ids(0, 20))


def test_records_that_were_deleted_unread_are_counted_where_a_gap_is_allowed(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    settings = bench.settings(partitions=2, on_log_change="resume")
    bench.send(settings, ids(0, 20), partition=1)
    worked_through(bench, settings, [])
    bench.send(settings, ids(20, 60), partition=0)
    bench.cluster.trim(settings, 0, 30)
    with bench.running(settings, StandInRouter()) as worker:
        wait_until(lambda: bench.all_committed(settings))
    assert bench.transcript_ids(settings) == Counter(ids(0, 20) + ids(50, 60))
    assert (worker.stats().log_changes, worker.stats().lost) == (0, 0)  # nothing was committed
    bench.send(settings, ids(60, 100), partition=0)
    bench.cluster.trim(settings, 0, 70)
    with bench.running(settings, StandInRouter()) as worker:
        wait_until(lambda: bench.all_committed(settings))
    assert bench.transcript_ids(settings) == Counter(ids(0, 20) + ids(50, 60) + ids(90, 100))
    assert (worker.stats().log_changes, worker.stats().lost) == (1, 30)
    assert "going on at offset 70" in caplog.text


@pytest.mark.parametrize("on_log_change", ["stop", "resume"])
def test_records_that_are_deleted_while_others_are_transcribed(
    bench: Bench, on_log_change: str
) -> None:
    """What was read before is still good, and is committed."""
    settings = bench.settings(
        partitions=1, on_log_change=on_log_change, max_pending_bytes=200_000, batch_records=4
    )
    backend = StandInRouter()
    backend.blocked = set(ids(0, 100))
    noise = random.Random(1)  # compressed, it is still more than the consumer fetches ahead
    bench.produce(
        settings, (manifest(name, note=noise.randbytes(20_000).hex()) for name in ids(0, 100))
    )
    worker = bench.worker(settings, backend)
    with bench.ending(worker) as codes:
        wait_until(lambda: worker.stats().paused == 1)
        read = worker.stats().pending
        bench.cluster.trim(settings, 0, 90)
        backend.blocked = set()
        if on_log_change == "stop":
            wait_until(lambda: bool(codes))
            assert codes == [exit_codes.LOG_CHANGED]
        else:
            wait_until(lambda: bench.all_committed(settings))
            worker.stop()
    transcribed = bench.transcript_ids(settings)
    assert max(transcribed.values()) == 1
    first = len(set(transcribed) & set(ids(0, 90)))
    assert read <= first < 90
    if on_log_change == "stop":
        assert bench.committed(settings) == {0: first}
        assert set(transcribed) == set(ids(0, first))
    else:
        assert set(transcribed) == {*ids(0, first), *ids(90, 100)}
        assert worker.stats().lost == 90 - first


@pytest.mark.parametrize("on_log_change", ["stop", "resume"])
def test_a_topic_that_is_created_again_while_it_is_read(
    bench: Bench, on_log_change: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = bench.settings(partitions=1, on_log_change=on_log_change)
    bench.send(settings, ids(0, 40))
    worker = bench.worker(settings, StandInRouter())
    with bench.ending(worker) as codes:
        wait_until(lambda: done(worker) == 40)
        bench.cluster.recreate(settings)
        bench.send(settings, ids(100, 130))
        if on_log_change == "stop":
            wait_until(lambda: bool(codes))
            assert codes == [exit_codes.LOG_CHANGED]
            assert "its topic was deleted and created again" in caplog.text
            assert bench.transcript_ids(settings) == Counter(ids(0, 40))
        else:
            wait_until(lambda: done(worker) == 70)
            worker.stop()
            assert worker.stats().log_changes == 1
    if on_log_change == "resume":
        assert bench.transcript_ids(settings) == Counter(ids(0, 40) + ids(100, 130))


@pytest.mark.parametrize("on_log_change", ["stop", "resume"])
def test_a_log_that_was_cut_off_and_written_again(
    on_log_change: str, unique: object, caplog: pytest.LogCaptureFixture
) -> None:
    """After an unclean leader election; `make log-changes` does it on real brokers."""
    cluster = InMemoryCluster(unique)  # type: ignore[arg-type]
    bench = Bench(cluster)
    settings = bench.settings(partitions=1, on_log_change=on_log_change)
    worked_through(bench, settings, ids(0, 40))
    cluster.cut_off(settings, 0, 25)
    bench.send(settings, ids(100, 130))
    worker = bench.worker(settings, StandInRouter())
    with bench.ending(worker) as codes:
        if on_log_change == "stop":
            wait_until(lambda: bool(codes))
            assert codes == [exit_codes.LOG_CHANGED]
            assert "were cut off it, from offset 25 on" in caplog.text
            assert bench.transcript_ids(settings) == Counter(ids(0, 40))
            return
        wait_until(lambda: done(worker) == 30)
        worker.stop()
    assert bench.transcript_ids(settings) == Counter(ids(0, 40) + ids(100, 130))
    assert worker.stats().log_changes == 1


def test_the_lag_goes_to_zero_for_a_new_group_where_only_markers_are(bench: Bench) -> None:
    settings = bench.settings(partitions=1)
    bench.abort_a_transaction(settings)
    with bench.running(settings, StandInRouter()):
        wait_until(lambda: bench.all_committed(settings))


def test_the_lag_goes_to_zero_where_only_markers_are_left(bench: Bench) -> None:
    settings = bench.settings(partitions=1)
    worked_through(bench, settings, ids(0, 5))
    bench.abort_a_transaction(settings)
    assert not bench.all_committed(settings)
    with bench.running(settings, StandInRouter()):
        wait_until(lambda: bench.all_committed(settings))
