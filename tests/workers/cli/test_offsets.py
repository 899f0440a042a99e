"""`chorus offsets` on a real broker: where the workers are, and going on at a chosen place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.workers.cli.shell import Shell
from tests.workers.stream.clusters import Bench, BrokerCluster
from tests.workers.stream.support import StandInRouter, done, wait_until
from workers import exit_codes
from workers.broker.cluster import Cluster

pytestmark = pytest.mark.kafka


@pytest.fixture
def bench(kafka: Cluster, unique: Callable[[str], str]) -> Bench:
    return Bench(BrokerCluster(kafka, unique))


def ids(first: int, end: int) -> list[str]:
    return [f"r{number}" for number in range(first, end)]


def test_a_group_is_moved_and_goes_on_there(bench: Bench, tmp_path: Path) -> None:
    settings = bench.settings(partitions=2, session_timeout_s=6.0)
    shell = Shell(settings, tmp_path)
    (tmp_path / "impatient").mkdir()
    impatient = Shell(
        replace(settings, stream=replace(settings.stream, session_timeout_s=1.0)),
        tmp_path / "impatient",
    )
    for partition in (0, 1):
        bench.send(settings, ids(10 * partition, 10 * partition + 10), partition=partition)
    [first, second] = shell.json_lines("offsets", "list")
    assert first == {"partition": 0, "start": 0, "end": 10, "committed": None, "lag": 10}
    moved = shell.json_lines("offsets", "set", "--to", "4", "--partition", "1")
    assert moved == [{**second, "set_to": 4}]
    with bench.running(settings, StandInRouter()) as worker:
        wait_until(lambda: done(worker) == 16)
        assert shell.json_lines("offsets", "list")[1]["committed"] == 10
        running = impatient.run("offsets", "set", "--to", "earliest", code=exit_codes.FAILURE)
        assert "stop them first" in running
    assert bench.transcript_ids(settings) == Counter(ids(0, 10) + ids(14, 20))
    # the worker that has stopped is still a member for some seconds
    again = shell.run("offsets", "set", "--to", "earliest", "--partition", "0")
    assert again == "partition 0: goes on at 0 (was 10; 10 offsets are read again)\n"
    with bench.running(settings, StandInRouter()) as worker:
        wait_until(lambda: done(worker) == 10)
    assert bench.transcript_ids(settings) == Counter(2 * ids(0, 10) + ids(14, 20))


def test_a_time_and_the_end(bench: Bench, tmp_path: Path) -> None:
    settings = bench.settings(partitions=1)
    shell = Shell(settings, tmp_path)
    bench.send(settings, ids(0, 5))
    between = datetime.now(UTC).isoformat()
    bench.send(settings, ids(5, 8))
    assert [each["set_to"] for each in shell.json_lines("offsets", "set", "--to", between)] == [5]
    assert [each["set_to"] for each in shell.json_lines("offsets", "set", "--to", "latest")] == [8]
    assert [
        each["set_to"] for each in shell.json_lines("offsets", "set", "--to", "2001-01-01")
    ] == [0]
    assert [
        each["set_to"] for each in shell.json_lines("offsets", "set", "--to", "2999-01-01T00:00Z")
    ] == [8]
    table = shell.run("offsets", "list").splitlines()
    assert [line.split() for line in table] == [
        ["partition", "first", "committed", "end", "lag"],
        ["0", "0", "8", "8", "0"],
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "soon"], "neither `earliest`, `latest`, an offset, nor a time"),
        (["--to", "3"], "give --partition as well"),
        (["--to", "7", "--partition", "0"], "partition 0 has offsets 0 to 1; 2 would wait"),
        (["--to", "0", "--partition", "5"], "has partitions 0 to 1"),
    ],
)
def test_what_cannot_be_is_refused(
    bench: Bench, tmp_path: Path, arguments: list[str], said: str
) -> None:
    settings = bench.settings(partitions=2)
    bench.send(settings, ids(0, 4))
    shell = Shell(settings, tmp_path)
    assert said in shell.run("offsets", "set", *arguments, code=exit_codes.SETTINGS)
    assert bench.committed(settings) == {}
