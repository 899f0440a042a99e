"""The CPU time of a process is divided among its functions by how often they were seen."""

from __future__ import annotations

import pytest

from tests.scenarios.profile import added, functions_of

STACKS = [
    (["thread (0x7F)", "run (/home/a/lib/python3.11/threading.py)", "read (/a/serve/audio.py)"], 3),
    (["run (/home/a/lib/python3.11/threading.py)", "read (/a/serve/audio.py)", "f (f.py:12)"], 1),
    (["run (/home/a/lib/python3.11/threading.py)"], 1),
]


def test_functions_share_the_time_of_their_process() -> None:
    found = {each.name: each for each in functions_of(STACKS, 10.0)}
    assert set(found) == {"threading.py run", "/a/serve/audio.py read", "f.py f"}
    assert sum(each.self_ms for each in found.values()) == pytest.approx(10.0)
    read = found["/a/serve/audio.py read"]
    assert [read.self_ms, read.total_ms] == pytest.approx([6.0, 8.0])
    assert found["threading.py run"].total_ms == pytest.approx(10.0)


def test_a_function_that_calls_itself_counts_once() -> None:
    assert functions_of([(["f (f.py)", "f (f.py)"], 2)], 1.0)[0].total_ms == 1.0


def test_processes_of_a_part_are_added_up() -> None:
    some = functions_of(STACKS, 10.0)
    both = added(some, functions_of(STACKS, 5.0))
    assert [each.name for each in both] == [each.name for each in some]
    assert sum(each.self_ms for each in both) == pytest.approx(15.0)


def test_a_process_that_nobody_looked_into_has_none() -> None:
    assert functions_of([], 10.0) == []
