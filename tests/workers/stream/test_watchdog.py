from __future__ import annotations

import subprocess
import sys
import threading

from workers import exit_codes
from workers.stream.watchdog import Watchdog


def test_a_call_that_hangs_is_reported_by_name() -> None:
    hung: list[str] = []
    reported = threading.Event()

    def report(what: str, seconds: float) -> None:
        hung.append(what)
        assert seconds > 0.1
        reported.set()

    watchdog = Watchdog(0.1, report)
    with watchdog.guard("a call that hangs"):
        assert reported.wait(timeout=10)
    assert hung == ["a call that hangs"]


def test_calls_that_return_are_let_be() -> None:
    hung: list[str] = []
    watchdog = Watchdog(0.2, lambda what, seconds: hung.append(what))
    done = threading.Event()
    for _ in range(5):
        with watchdog.guard("quick"):
            done.wait(0.1)
    watchdog.stop()
    assert hung == []


def test_the_process_ends_with_its_own_code() -> None:
    program = (
        "import time, logging; logging.basicConfig()\n"
        "from workers.stream.watchdog import Watchdog\n"
        "with Watchdog(0.2).guard('committing the transaction'): time.sleep(60)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == exit_codes.RESTART
    assert "committing the transaction has not returned" in ended.stderr
