"""What a console with three open pages costs a stream, while 1,000 transcripts a second come.

The stream works on a backlog with all cores, by turns beside a console and without one; another
producer fills its topic of transcripts all the time. At the end three tabs of Chromium show the
flood, where there is one.

- `stream_ratio`: records per second beside the console over those without; the median of the pairs.
- `console_cores`, `console_mb`: what the console takes meanwhile.
- `updates_per_second`, `page_mb`: of the busiest and of the largest tab.
- `dropped_is_told`: whether each tab says how many transcripts it did not show.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import psutil
from kafka.errors import KafkaError
from rich.console import Console

from deploy.local import CHORUS, ChildDiedError, LocalStack
from schemas.settings import KafkaSettings
from schemas.transcript import encode_transcript
from tests.scenarios.bench import produce, stream_settings, wait_for_commit, write_speech
from tests.scenarios.beside import beside
from tests.scenarios.outcome import exit_code_of
from tests.scenarios.speech import manifest_records, repeated
from tests.workers.console.browser import CHROMIUM, Tab, chromium
from tests.workers.console.samples import transcript
from workers.broker.broker import BrokerError
from workers.kafka.clients import make_producer

FAILURES = (ChildDiedError, BrokerError, KafkaError, TimeoutError, httpx.HTTPError)
RECORDS_A_TURN = 600
WARM_UP_RECORDS = 800
RECORDS_BEHIND = 800
#: Records until a turn is measured, and that it may have more.
SETTLING_RECORDS, MORE_RECORDS = 200, 400
FLOOD_PER_S = 1000
PAGES = 3
#: Seconds that the tabs show the flood.
SHOWN_S = 15
_SAID = "console at "
_MIB = 1 << 20


def flood(kafka: KafkaSettings) -> AbstractContextManager[None]:
    """Fill the topic of transcripts while the block runs."""

    def fill(ended: threading.Event) -> None:
        producer = make_producer(kafka)
        number, begin = 0, time.monotonic()
        while not ended.wait(0.05):
            while number < (time.monotonic() - begin) * FLOOD_PER_S:
                value = encode_transcript(transcript(id=f"flood-{number}"))
                producer.send(kafka.topics.transcripts, value=value)
                number += 1
        producer.close()

    return beside(fill)


@contextmanager
def console_process(settings_file: Path) -> Iterator[tuple[str, psutil.Process]]:
    """A console in a process of its own; yields its address."""
    command = [*CHORUS, "console", "--settings", str(settings_file), "--port", "0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()  # it listens already
        if not said.startswith(_SAID):
            raise ChildDiedError(f"the console ended with code {process.wait()}")
        yield said.removeprefix(_SAID).strip(), psutil.Process(process.pid)
    finally:
        process.terminate()
        process.communicate(timeout=20)


def open_pages(url: str) -> AbstractContextManager[None]:
    """What browsers ask for with the live page open, without the browsers."""

    def read(ended: threading.Event) -> None:
        with httpx.stream("GET", f"{url}/live/events", timeout=30) as events:
            for _ in events.iter_raw():
                if ended.is_set():
                    return

    return beside(read, PAGES)


def seconds_a_record(stack: LocalStack) -> float:
    """The stream's speed over a turn."""
    settled = wait_for_commit(stack, wait_for_commit(stack, 0) + SETTLING_RECORDS)
    begin = time.monotonic()
    done = wait_for_commit(stack, settled + RECORDS_A_TURN)
    return (time.monotonic() - begin) / (done - settled)


def beside_console(stack: LocalStack) -> tuple[float, float, float]:
    """The stream's speed beside a console, whose cores and MiB."""
    with console_process(stack.settings_file) as (url, console), open_pages(url):
        time.sleep(3)  # it has read what was there
        before, begin = sum(console.cpu_times()[:2]), time.monotonic()
        seconds = seconds_a_record(stack)
        cores = (sum(console.cpu_times()[:2]) - before) / (time.monotonic() - begin)
        return seconds, cores, console.memory_info().rss / _MIB


def shown(stack: LocalStack) -> dict[str, Any]:
    """What three tabs show of the flood."""
    if not CHROMIUM.exists():
        return {"tabs": 0}
    with console_process(stack.settings_file) as (url, _), chromium() as browser:
        tabs = [Tab(browser, url, "desktop", "light") for _ in range(PAGES)]
        for tab in tabs:
            tab.page.goto("/live")
            tab.page.wait_for_selector(".row", timeout=60_000)
            tab.page.evaluate(
                "window.updates = 0; new MutationObserver(() => window.updates++)"
                ".observe(document.getElementById('rows'), {childList: true})"
            )
        begin = time.monotonic()
        time.sleep(SHOWN_S)
        updates = [tab.page.evaluate("window.updates") for tab in tabs]
        seconds = time.monotonic() - begin
        told = [tab.page.query_selector("text=came too fast") is not None for tab in tabs]
        renderers = [
            each.memory_full_info().uss / _MIB
            for each in psutil.Process().children(recursive=True)
            if "--type=renderer" in " ".join(each.cmdline())
        ]
        complaints = sum(len(tab.complaints) for tab in tabs)
        return {
            "tabs": len(tabs),
            "updates_per_second": round(max(updates) / seconds, 2),
            "page_mb": round(max(renderers), 1),
            "dropped_is_told": all(told),
            "complaints": complaints,
        }


def run_load(turns: int, say: Callable[[str], None]) -> tuple[dict[str, Any], list[str]]:
    """Let the stream work by turns; the figures, and what is wrong."""
    with ExitStack() as around:
        folder = Path(around.enter_context(tempfile.TemporaryDirectory(prefix="chorus-load-")))
        write_speech(folder, ["wav"])
        speech = folder / "wav"
        stack = around.enter_context(LocalStack(stream_settings(speech, replicas=1), speech))
        stack.start_serve()
        stack.start_broker()
        stack.wait_for_serve()
        a_turn = SETTLING_RECORDS + RECORDS_A_TURN + MORE_RECORDS
        total = WARM_UP_RECORDS + 2 * turns * a_turn + RECORDS_BEHIND
        # between two turns, while a console starts, the stream goes on
        produce(stack.settings, repeated(manifest_records(speech), 2 * total))
        stack.start_worker()
        wait_for_commit(stack, WARM_UP_RECORDS)
        say("the stream is warm")
        around.enter_context(flood(stack.settings.kafka))
        ratios, cores, sizes = [], [], []
        for turn in range(turns):
            if turn % 2:
                alone = seconds_a_record(stack)
                beside, taken, size = beside_console(stack)
            else:
                beside, taken, size = beside_console(stack)
                alone = seconds_a_record(stack)
            ratios.append(alone / beside)
            cores.append(taken)
            sizes.append(size)
            say(f"turn {turn + 1}: {alone / beside:.3f}, {taken:.2f} of a core")
        figures = {
            "stream_ratio": round(median(ratios), 3),
            "stream_ratios": [round(each, 3) for each in ratios],
            "console_cores": round(median(cores), 3),
            "console_mb": round(max(sizes), 1),
            **shown(stack),
        }
    faults = []
    if figures.get("updates_per_second", 0) >= 10:
        faults.append("a page is updated ten times a second or more")
    if figures.get("page_mb", 0) > 200:
        faults.append("a page takes more than 200 MB")
    if not figures.get("dropped_is_told", True):
        faults.append("a page does not say what it dropped")
    return figures, faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=8)
    given = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True, stderr=True)
    return exit_code_of(lambda: run_load(given.turns, console.print), FAILURES, console)


if __name__ == "__main__":
    sys.exit(main())
