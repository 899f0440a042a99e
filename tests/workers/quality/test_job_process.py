"""What the process of the job does over its connection, and what it is shown as."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from multiprocessing import Pipe

import pytest

from serve_app.telemetry import definitions as defined
from tests.workers.quality.simulated import observations
from workers.quality.gauges import Gauge, gauges
from workers.quality.process import look_again_and_again
from workers.quality.series import in_series
from workers.quality.verdict import Rules, judge

SHOWN = [Gauge(defined.QUALITY_LOOKED, (), 1.0)]


def test_a_look_that_fails_is_logged_once_and_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    faults = [ConnectionError("secret"), ConnectionError("secret"), None, TimeoutError()]
    begun = 0

    def begin() -> Callable[[], list[Gauge]]:
        nonlocal begun
        begun += 1
        if begun == 1:
            raise ModuleNotFoundError(name="numpy")
        return look

    def look() -> list[Gauge]:
        if faults and (fault := faults.pop(0)) is not None:
            raise fault
        return SHOWN

    ours, theirs = Pipe()
    with caplog.at_level(logging.WARNING):
        thread = threading.Thread(target=look_again_and_again, args=(theirs, begin, 0.001))
        thread.start()
        assert [ours.recv() for _ in range(6)] == [[], [], [], SHOWN, [], SHOWN]
        ours.close()
        thread.join(10)
    assert not thread.is_alive(), "it ends with the connection"
    assert begun == 2, "what has read something is kept"
    said = [each.getMessage().partition("(")[2].partition(")")[0] for each in caplog.records]
    assert said == [
        "it needs the package numpy: pip install 'chorus-asr[serve,stream]'",
        "ConnectionError",
        "TimeoutError",
    ]


def test_the_gauges_are_of_the_latest_version() -> None:
    old = observations(0, 1500, wer=0.05)
    both = [
        *observations(0, 1500, version="2", start=2000.0),
        *observations(0, 600, version="2", wer=0.3, start=3500.0),
    ]
    found = gauges(judge(in_series([*old, *both]), Rules(), expected=["general", "medical"]), 9.0)
    values = {(each.metric, each.labels): each.value for each in found}
    name = ("general", "calls")
    assert values[defined.QUALITY_VERDICT, (*name, "worse")] == 1
    assert values[defined.QUALITY_VERDICT, (*name, "stable")] == 0
    assert values[defined.QUALITY_VERDICT, ("medical", "", "no data")] == 1
    assert values[defined.QUALITY_RECORDS, name] == 2100
    assert values[defined.QUALITY_VALUE, (*name, "wer")] == pytest.approx(0.3, abs=0.03)
    low, high = (values[defined.QUALITY_CHANGE, (*name, "wer", end)] for end in ("low", "high"))
    assert 0.1 < low < 0.22 < high
    assert values[defined.QUALITY_LOOKED, ()] == 9
    assert len(values) == len(found), "each once"
    assert all(len(each.labels) == len(each.metric.labels) for each in found)
    assert {each.metric for each in found} == set(defined.QUALITY)
