"""Candidates are compared on a stream: a worse one goes, a better one comes, and nothing is lost.

A stack with one model streams records with references. A candidate with more errors gets a shadow
and a canary, and is to be rolled back. One with fewer is to be promoted; before it can be, its
process is killed, then that of its judge, and then `chorus serve` with everything, which is started
again. Each version writes a text of its own, so that a transcript shows which one made it. The last
line is JSON; the exit code is 1 if something is wrong.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psutil
from kafka.errors import KafkaError
from rich.console import Console

from deploy.local import CHORUS, ROOT, ChildDiedError, LocalStack
from schemas.manifest import ManifestRecord
from schemas.rollout import RolloutPlan
from schemas.transcript import Transcript, decode_transcript
from serve_app.registry.local_store import LocalStore
from serve_app.rollout.arms import Arm, arm_of, block_of
from serve_app.rollout.judge import app_of
from serve_app.rollout.records import Rollout, Rollouts
from tests.processes import command_of
from tests.scenarios.audit import audit, uncommitted
from tests.scenarios.outcome import exit_code_of
from tests.scenarios.settings import BASE
from tests.scenarios.speech import many_records
from tests.scenarios.stream_watch import CommitWatch, Feed
from tests.versioned import ENGINE, promote, register
from workers.broker.broker import BrokerError
from workers.kafka.reader import read_topic

MODEL = "general"
SAID = "alpha bravo charlie delta"
TEXTS = {"1": "alpha bravo charlie x", "2": "alpha x x x", "3": SAID}
#: Seconds that the engine takes for a second of speech.
_DELAY = 0.005
_MOST_RECORDS = 50_000
_WAIT_S = 240.0
_SHARES = ("--shadow", "50%", "--canary", "20%", "--promote", "automatic")

FAILURES = (ChildDiedError, BrokerError, KafkaError, TimeoutError, ConnectionError)


class Run:
    """The stream, and what is done to it.

    Args:
        stack: with the models of a registry.
        registry: its folder.
        say: tells what happens.
    """

    def __init__(self, stack: LocalStack, registry: Path, say: Callable[[str], None]) -> None:
        self._stack = stack
        self._say = say
        self._rollouts = Rollouts(LocalStore(registry))
        self.records = [
            msgspec.structs.replace(record, text=SAID) for record in many_records(_MOST_RECORDS)
        ]
        self.feed = Feed(stack.settings.kafka, self.records)
        self.watch = CommitWatch(stack.settings.kafka)

    def stream_until(self, condition: Callable[[], bool], what: str) -> None:
        """Go on feeding records as fast as they are transcribed, until `condition` holds."""
        deadline = time.monotonic() + _WAIT_S
        while not condition():
            self._stack.check_all()
            self.feed.up_to(self.watch.look() + 100)
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {_WAIT_S:.0f} s for {what}")
            time.sleep(0.05)

    def start(self, candidate: str, *options: str) -> RolloutPlan:
        """Start a rollout by the command, while records stream."""
        command = [*CHORUS, "rollout", "start", MODEL, "--candidate", candidate, *_SHARES, *options]
        process = subprocess.Popen(
            [*command, "--settings", str(self._stack.settings_file)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.stream_until(lambda: process.poll() is not None, "`chorus rollout start`")
        output = process.communicate()[0].decode()
        if process.returncode:
            raise ChildDiedError(f"chorus rollout start ended with {process.returncode}:\n{output}")
        self._say(output.splitlines()[0])
        return self.rollout.plan

    @property
    def rollout(self) -> Rollout:
        """The last rollout."""
        found = self._rollouts.last(MODEL, "production")
        if found is None:
            raise RuntimeError("no rollout was begun")
        return found

    def stored(self) -> int:
        """Records whose observations are stored."""
        return self._rollouts.evidence(self.rollout.plan)[1].records

    def end(self) -> str:
        """How the last rollout ends."""
        self.stream_until(lambda: self.rollout.end is not None, "the end of a rollout")
        end = self.rollout.end
        if end is None:
            raise RuntimeError("it ended")
        self._say(f"{end.kind}: {end.why}, after {self.stored()} records")
        return end.kind

    def kill(self, deployment: str) -> None:
        """Kill a replica beside the rollout, and wait until it is observed again."""
        name = f"{app_of(self.rollout.plan)}:{deployment}"
        self.stream_until(lambda: bool(self._replicas(name)), f"a process called {name}")
        for victim in self._replicas(name):
            victim.kill()
        before = self.stored()
        self._say(f"the {deployment.lower()} is killed after {before} records")
        self.stream_until(lambda: self.stored() > before + 20, "observations after a kill")

    def _replicas(self, name: str) -> list[psutil.Process]:
        return [each for each in self._stack.processes() if name in " ".join(command_of(each))]

    def restart_serve(self) -> None:
        """Kill `chorus serve` with all its processes, and start it again."""
        before = self.stored()
        for process in psutil.Process(self._stack.serve.pid).children(recursive=True):
            process.kill()
        self._stack.serve.kill()
        self._stack.serve.wait()
        self._stack.start_serve()
        self._stack.wait_for_serve()
        self._say(f"chorus serve is killed and started again after {before} records")
        self.stream_until(lambda: self.stored() > before + 20, "observations after a restart")

    def finish(self) -> None:
        """Wait for the last results."""
        kafka = self._stack.settings.kafka
        count = self.feed.sent
        del self.records[count:]
        deadline = time.monotonic() + _WAIT_S
        while self.watch.look() < count or uncommitted(kafka):
            self._stack.check_all()
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {_WAIT_S:.0f} s for the last results")
            time.sleep(0.1)
        self._stack.stop_workers()

    def close(self) -> None:
        """Stop feeding."""
        self.feed.close()
        self.watch.close()


def run_rollouts(
    say: Callable[[str], None],
    *,
    worse: bool = True,
    kills: int = 3,
    restart: bool = True,
    blocks: int = 1000,
) -> tuple[dict[str, Any], list[str]]:
    """Stream while candidates are compared; returns the figures and what is wrong.

    Args:
        say: tells what happens.
        worse: whether there is a worse candidate first.
        kills: how often the better candidate's process is killed.
        restart: whether `chorus serve` is killed and started again after that.
        blocks: records that the better candidate needs for a verdict.
    """
    with tempfile.TemporaryDirectory(prefix="chorus-rollout-") as temporary:
        registry = Path(temporary) / "registry"
        for text in TEXTS.values():
            register(registry, MODEL, text)
        promote(registry, MODEL, "1")
        plans: dict[str, RolloutPlan] = {}
        ends = {}
        with LocalStack(_settings(registry), BASE) as stack:
            stack.start_serve()
            stack.start_broker()
            stack.wait_for_serve()
            stack.start_worker()
            run = Run(stack, registry, say)
            try:
                if worse:
                    plans["2"] = run.start("2")
                    ends["2"] = run.end()
                _settings_of_better(stack, blocks)
                plans["3"] = run.start("3")
                for _ in range(kills):
                    run.kill("Candidate")
                run.kill("Judge")
                if restart:
                    run.restart_serve()
                ends["3"] = run.end()
                served = run.watch.look()
                run.stream_until(lambda: run.watch.look() > served + 200, "the promoted version")
                run.finish()
                transcripts = _transcripts(stack)
                findings = audit(stack.settings, [record.id for record in run.records])
            finally:
                run.close()
    figures: dict[str, Any] = {
        **findings.figures(),
        "candidate_kills": kills,
        "rolled_back": sum(kind == "rolled_back" for kind in ends.values()),
        "promoted": sum(kind == "promoted" for kind in ends.values()),
        "canaries": sum(each.arm == "candidate" for each in transcripts),
        "wrong_version": sum(
            TEXTS.get(each.model_version or "") != each.pred_text for each in transcripts
        ),
        "strays": sum(_is_stray(each, plans) for each in transcripts),
    }
    faults = findings.faults()
    if ends != {**({"2": "rolled_back"} if worse else {}), "3": "promoted"}:
        faults.append(f"the rollouts ended otherwise: {ends}")
    for key in ("wrong_version", "strays"):
        if figures[key]:
            faults.append(f"{key}: {figures[key]}")
    if not figures["canaries"]:
        faults.append("no transcript is a candidate's")
    return figures, faults


def _settings(registry: Path) -> dict[str, Any]:
    model = {
        "engine": ENGINE,
        "model": f"{MODEL}@production",
        "num_cpus": 0.1,
        "options": {"delay_per_second": _DELAY},
    }
    return {
        "models": {MODEL: model},
        "routing": {"default": MODEL},
        "stream": {"batch_records": 16, "batches_in_flight": 3},
        "registry": {"url": str(registry), "poll_s": 0.5},
        "rollout": {"min_blocks": 50, "block_by": "record"},
        "audio": {"roots": ["speech"]},
        "serve": {"router_num_cpus": 0.1},
    }


def _settings_of_better(stack: LocalStack, blocks: int) -> None:
    """Ask for more before the next verdict, so that there is time to break something."""
    text = stack.settings_file.read_text().replace("min_blocks: 50", f"min_blocks: {blocks}")
    stack.settings_file.write_text(text)


def _transcripts(stack: LocalStack) -> list[Transcript]:
    messages = read_topic(stack.settings.kafka, stack.settings.kafka.topics.transcripts)
    return [
        decode_transcript(message.value)
        for message in messages
        if message is not None and message.value is not None
    ]


def _is_stray(transcript: Transcript, plans: dict[str, RolloutPlan]) -> bool:
    """Whether a candidate made a text that its rollout does not give it."""
    if transcript.arm != "candidate":
        return False
    plan = plans.get(transcript.model_version or "")
    record = ManifestRecord(id=transcript.id, audio_filepath=transcript.audio_filepath)
    return plan is None or arm_of(plan, block_of(record, "record")) is not Arm.CANARY


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    begin = time.monotonic()
    return exit_code_of(
        lambda: run_rollouts(
            lambda text: console.print(f"{time.monotonic() - begin:7.1f} s  {text}")
        ),
        FAILURES,
        console,
    )


if __name__ == "__main__":
    sys.exit(main())
