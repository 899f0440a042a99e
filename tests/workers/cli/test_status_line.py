"""The line about a stream worker on a terminal."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from deploy.local import ROOT
from workers.cli.status_line import StatusText
from workers.stream.worker import Stats


def stats(**keys: object) -> Stats:
    nothing = dict.fromkeys(Stats.__struct_fields__, 0)
    return Stats(**nothing | {"instance": "0", "breaker": "closed", "lag": None} | keys)  # type: ignore[arg-type]


def test_rates_are_of_the_last_half_minute() -> None:
    text = StatusText()
    assert text.line(stats(), 100.0).startswith("0 partitions · 0.0 records/s · 0.0 audio-s/s")
    line = text.line(
        stats(partitions=3, transcribed=90, dead_lettered=10, audio_s=500.0, pending=7, lag=12),
        110.0,
    )
    assert line == (
        "3 partitions · 10.0 records/s · 50.0 audio-s/s · 12 waiting · 7 in hand · 0 calls · "
        "90 transcribed · 10 dead letters"
    )
    line = text.line(stats(partitions=1, transcribed=90, dead_lettered=10, in_flight=1), 200.0)
    assert line.startswith("1 partition · 0.0 records/s · 0.0 audio-s/s · 0 in hand · 1 call · ")


def test_an_open_breaker_is_told() -> None:
    assert StatusText().line(stats(breaker="open"), 0.0).endswith("circuit breaker open")


PROGRAM = """
import logging, time
from types import SimpleNamespace
from tests.workers.cli.test_status_line import stats
from workers.cli import status_line
from workers.cli.common import set_up_logging

set_up_logging()
status_line._TURN_S = 0.05
with status_line.status_line(SimpleNamespace(stats=lambda: stats(partitions=6, transcribed=41))):
    time.sleep(0.3)
    logging.getLogger("x").info("a line of the log [bold]as it is[/bold]")
    time.sleep(0.3)
logging.getLogger("x").info("afterwards")
"""


@pytest.mark.parametrize("terminal", [True, False])
def test_the_log_goes_on_above_it(terminal: bool) -> None:
    reader, writer = os.openpty() if terminal else os.pipe()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "TERM": "xterm"}
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stderr=writer, cwd=ROOT, env=environment
    )
    os.close(writer)
    said = b""
    try:
        while chunk := os.read(reader, 4096):
            said += chunk
    except OSError:  # a terminal whose other side has ended
        pass
    os.close(reader)
    assert child.wait() == 0
    assert (b"41 transcribed" in said) == terminal
    assert b"a line of the log [bold]as it is[/bold]" in said
    assert b"afterwards" in said
