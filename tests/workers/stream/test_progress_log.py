from __future__ import annotations

import pytest

from workers.stream.commit_cycle import CommitTotals
from workers.stream.progress_log import INTERVAL_S, ProgressLog


def test_a_working_worker_says_its_rate_and_an_idle_one_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    now = 0.0
    totals = CommitTotals()
    progress = ProgressLog(totals, pending=lambda: 7, clock=lambda: now)
    totals.transcribed = 60
    progress.turn()
    assert caplog.messages == []
    now = INTERVAL_S
    totals.dead_lettered = 3
    progress.turn()
    now = 2 * INTERVAL_S
    progress.turn()
    assert caplog.messages == ["60 transcribed, 3 dead-lettered: 2.1 records a second, 7 pending"]
