"""Versions of a model change while records stream: nothing is lost, late, or said to be another's.

A stack with one model streams records while its alias is promoted ten times, twice to a version
that is broken: one does not load, one raises over every clip. Each version writes a text of its
own, so that a transcript shows which one made it. The last line is JSON; the exit code is 1 if
something is wrong.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from kafka.errors import KafkaError
from rich.console import Console

from deploy.demo import SPEECH
from deploy.local import ROOT, ChildDiedError, LocalStack
from schemas.transcript import decode_transcript
from serve_app.model.protocol import ModelInfo
from tests.scenarios.audit import audit, uncommitted
from tests.scenarios.outcome import exit_code_of
from tests.scenarios.settings import BASE
from tests.scenarios.speech import many_records
from tests.scenarios.stream_watch import CommitWatch, Feed
from tests.versioned import ENGINE, promote, register
from workers.broker.broker import BrokerError
from workers.kafka.reader import read_topic

MODEL = "general"
#: How each promotion ends, in order.
PROMOTIONS = ("works",) * 3 + ("fails",) + ("works",) * 3 + ("rejects",) + ("works",) * 2
#: Seconds that the engine takes for a second of speech: twice as much as a small model on one core.
_DELAY = 0.02
_WAIT_S = 180.0

FAILURES = (ChildDiedError, BrokerError, KafkaError, TimeoutError, ConnectionError)


class Batch(msgspec.Struct, frozen=True):
    """A batch of an engine: when it began and ended, in seconds, and how many clips it had."""

    clips: int
    begin: float
    end: float


def run_swaps(
    records: int, promotions: Sequence[str], say: Callable[[str], None]
) -> tuple[dict[str, Any], list[str]]:
    """Stream records while an alias is promoted; returns the figures and what is wrong."""
    with tempfile.TemporaryDirectory(prefix="chorus-swap-") as temporary:
        registry, events = Path(temporary) / "registry", Path(temporary) / "events"
        texts = {register(registry, MODEL, "first"): "first"}
        promote(registry, MODEL, "1")
        with LocalStack(_settings(registry, events), BASE) as stack:
            stack.start_serve()
            stack.start_broker()
            stack.wait_for_serve()
            stack.start_worker()
            say("the stack is up: one model, one worker")
            refused = _stream(stack, registry, records, promotions, texts, say)
            wrong, made = _wrong_versions(stack, texts)
            findings = audit(stack.settings, [record.id for record in many_records(records)])
        batches = _batches(events)
    figures = {
        **findings.figures(),
        "swaps": len(made) - 1,
        "refused": refused,
        "longest_gap_s": round(_longest_gap(batches), 3),
        "longest_batch_s": round(max(each.end - each.begin for each in batches), 3),
        "wrong_version": wrong,
    }
    faults = findings.faults()
    working = sum(each == "works" for each in promotions)
    if figures["swaps"] != working or refused != len(promotions) - working:
        faults.append(f"{figures['swaps']} swaps and {refused} refusals of {len(promotions)}")
    if wrong:
        faults.append(f"{wrong} transcripts name another version than the one that made them")
    if figures["longest_gap_s"] > figures["longest_batch_s"]:
        faults.append("no version worked for longer than a batch takes")
    return figures, faults


def _settings(registry: Path, events: Path) -> dict[str, Any]:
    model = {
        "engine": ENGINE,
        "model": f"{MODEL}@production",
        "num_cpus": 0.1,
        "options": {"delay_per_second": _DELAY, "events": str(events)},
    }
    return {
        "models": {MODEL: model},
        "routing": {"default": MODEL},
        # few clips wait at a time: a version has let go of the last one before the next comes
        "stream": {"batch_records": 16, "batches_in_flight": 3},
        "registry": {"url": str(registry), "poll_s": 0.5},
        "audio": {"roots": [SPEECH.name]},
        "serve": {"router_num_cpus": 0.1},
    }


def _stream(
    stack: LocalStack,
    registry: Path,
    count: int,
    promotions: Sequence[str],
    texts: dict[str, str],
    say: Callable[[str], None],
) -> int:
    """Feed all records, promote while they are worked on, and stop; the number of refusals."""
    kafka = stack.settings.kafka
    feed, watch = Feed(kafka, many_records(count)), CommitWatch(kafka)
    replica = Replica(stack)
    refused = 0
    serves = "1"
    try:
        feed.finish()
        for number, kind in enumerate(promotions, start=1):
            wanted = number * count // (len(promotions) + 1)
            _wait(stack, partial(_has_made, watch, wanted), "records")
            files = {} if kind == "works" else {kind: ""}
            version = register(registry, MODEL, f"version-{number}", **files)
            texts[version] = f"version-{number}"
            promote(registry, MODEL, version)
            if kind == "works":
                serves = version
                _wait(stack, partial(replica.serves, version), f"version {version}")
            else:
                _wait(stack, partial(replica.refuses, version), f"the refusal of {version}")
                refused += replica.serves(serves)
            say(f"{watch.look()} of {count} transcribed; version {version} {kind}")
        _wait(stack, lambda: watch.look() >= count, "the last results")
        _wait(stack, lambda: uncommitted(kafka) == 0, "the last commit")
        stack.stop_workers()
    finally:
        replica.close()
        feed.close()
        watch.close()
    return refused


class Replica:
    """Asks the replica what it serves, from a process of its own.

    Ray ends a process that outlives the cluster that it is connected to.
    """

    def __init__(self, stack: LocalStack) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _ASK, stack.address, stack.settings.serve.app, MODEL],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )

    def info(self) -> ModelInfo:
        """What it says of itself now."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("a pipe is missing")
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        return msgspec.json.decode(self._process.stdout.readline(), type=ModelInfo)

    def serves(self, version: str) -> bool:
        """Whether it serves a version."""
        return self.info().version == version

    def refuses(self, version: str) -> bool:
        """Whether it refuses a version."""
        return self.info().refused.startswith(f"version {version}: ")

    def close(self) -> None:
        """Ask no more."""
        self._process.kill()
        self._process.wait()


_ASK = """
import asyncio, sys
import msgspec
from serve_app.cluster.ray_cluster import connect
from serve_app.router.client import RouterClient

async def main(app, model):
    router = RouterClient(app)
    while await asyncio.to_thread(sys.stdin.readline):
        print(msgspec.json.encode((await router.info())[model]).decode(), flush=True)

connect(sys.argv[1])
asyncio.run(main(*sys.argv[2:]))
"""


def _has_made(watch: CommitWatch, count: int) -> bool:
    return watch.look() >= count


def _wrong_versions(stack: LocalStack, texts: dict[str, str]) -> tuple[int, set[str]]:
    """How many transcripts name another version than wrote them, and the versions that wrote."""
    wrong, made = 0, set()
    for message in read_topic(stack.settings.kafka, stack.settings.kafka.topics.transcripts):
        if message is not None and message.value is not None:
            transcript = decode_transcript(message.value)
            made.add(transcript.pred_text)
            wrong += texts.get(transcript.model_version or "") != transcript.pred_text
    return wrong, made


def _batches(events: Path) -> list[Batch]:
    """The batches of the replica, in order, without those of trials."""
    lines = [line.split() for line in events.read_text().splitlines()]
    replica = Counter(pid for pid, *_ in lines).most_common(1)[0][0]
    found = [
        Batch(int(clips), float(begin), float(end))
        for pid, _, clips, begin, end in lines
        if pid == replica
    ]
    return sorted(found, key=lambda batch: batch.begin)


def _longest_gap(batches: list[Batch]) -> float:
    """The longest time without a batch at work, from the first record to the last, in seconds."""
    at_work = [each for each in batches if each.clips > 1]
    begin, end = at_work[0].begin, at_work[-1].begin
    longest, busy_until = 0.0, begin
    for each in batches:
        if begin <= each.begin <= end:
            longest = max(longest, each.begin - busy_until)
            busy_until = max(busy_until, each.end)
    return longest


def _wait(stack: LocalStack, condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _WAIT_S
    while not condition():
        stack.check_all()
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {_WAIT_S:.0f} s for {what}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=3000)
    given = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    begin = time.monotonic()
    return exit_code_of(
        lambda: run_swaps(
            given.records,
            PROMOTIONS,
            lambda text: console.print(f"{time.monotonic() - begin:7.1f} s  {text}"),
        ),
        FAILURES,
        console,
    )


if __name__ == "__main__":
    sys.exit(main())
