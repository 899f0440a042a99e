"""A step and a sawtooth of load on a real Ray: how models and stream workers follow.

A model of known speed (a stand-in: ten seconds of audio in one) and the stream workers scale by
what waits in a real Kafka. The load is a multiple of what one replica can do. In the middle of the
step the broker is away for a while, which must change nothing.
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from kafka.errors import KafkaError
from rich.console import Console

from deploy.demo import SPEECH
from schemas.settings import Settings, load_settings
from serve_app.cluster.readiness import StartError
from serve_app.model.application import WORKER, model_app, worker_app
from tests.ray_nodes import RayNodes
from tests.scenarios.audit import audit, uncommitted
from tests.scenarios.outcome import exit_code_of
from tests.scenarios.speech import many_records
from tests.scenarios.stream_watch import CommitWatch, Feed
from workers.broker.broker import BrokerError
from workers.broker.cluster import Cluster as Kafka
from workers.deploying.cluster import Cluster
from workers.deploying.config import serve_config
from workers.kafka.topics import ensure_settings_topics

APP = "scaling"
MODEL = "general"
PARTITIONS = 4
MOST = 8
#: Seconds of audio that a replica does in a second.
RTFX = 10.0
_CATCH_UP_S = 60.0
_PER_WORKER = 300
_START_S = 180.0
_STALL_S = 240.0
FAILURES = (TimeoutError, RuntimeError, StartError, BrokerError, KafkaError)

#: A load at a time since its beginning, as a multiple of what a replica does.
Load = Callable[[float], float]


class Sample(NamedTuple):
    """What was at a time.

    Attributes:
        at: seconds since the load began.
        target, running: replicas of the model that there are to be, and that run.
        workers: that there are to be.
        lag: records that were produced and whose results are not committed.
    """

    at: float
    target: int
    running: int
    workers: int
    lag: int


class Scene:
    """The installation, and the records that flow through it.

    Args:
        folder: for the settings.
        nodes: the Ray cluster.
        kafka: the broker.
    """

    def __init__(self, folder: Path, nodes: RayNodes, kafka: Kafka) -> None:
        self._file = folder / "chorus.yaml"
        delays = {"upscale_delay_s": 5.0, "downscale_delay_s": 60.0}
        engine = {"engine": "tests.standin:StandInEngine", "num_cpus": 0.1}
        model = {
            **engine,
            "options": {"delay_per_second": 1 / RTFX},
            "batch_seconds": 20.0,
            "autoscaling": {"max_replicas": MOST, **delays},
        }
        workers = {"max_workers": PARTITIONS, "records_per_worker": _PER_WORKER, **delays}
        raw = {
            "models": {MODEL: model},
            "routing": {"default": MODEL},
            "audio": {"roots": [str(SPEECH)]},
            "serve": {"app": APP},
            "kafka": {"bootstrap_servers": kafka.bootstrap_servers},
            "stream": {"autoscaling": workers, "catch_up_s": _CATCH_UP_S, "batch_records": 32},
        }
        self._file.write_text(yaml.safe_dump(raw))
        self.settings: Settings = load_settings(self._file)
        self._cluster = Cluster(nodes.dashboard)
        ensure_settings_topics(self.settings.kafka, PARTITIONS)
        self._deploy()
        self.records = many_records(20_000)
        self._seconds = [record.duration or 0.0 for record in self.records]
        self._feed = Feed(self.settings.kafka, self.records)
        self._watch = CommitWatch(self.settings.kafka)

    def _deploy(self) -> None:
        config = serve_config(self.settings, file=None, worker=True)
        self._cluster.deploy(config)
        names = [each["name"] for each in config["applications"]]
        self._cluster.wait(names, _START_S, lambda *_: None)

    @property
    def sent(self) -> int:
        """Records produced so far."""
        return self._feed.sent

    def run(self, load: Load, seconds: float, *, until_idle: bool = False) -> Iterator[Sample]:
        """Produce by a load and look once a second, for some seconds and until nothing waits."""
        begin = time.monotonic()
        owed, before = 0.0, begin
        while True:
            now = time.monotonic()
            at = now - begin
            if at < seconds:
                owed += load(at) * RTFX * (now - before)
                while owed > 0:
                    owed -= self._seconds[self.sent]
                    self._feed.up_to(self.sent + 1)
            before = now
            sample = self._look(at)
            yield sample
            if at >= seconds and not (until_idle and sample.lag):
                return
            if at > seconds + _STALL_S:
                raise TimeoutError(f"{sample.lag} records still wait")

    def _look(self, at: float) -> Sample:
        until = time.monotonic() + 1.0
        while (left := until - time.monotonic()) > 0:
            self._watch.look(left)
        lag = self.sent - self._watch.count
        there = self._cluster.details()["applications"]
        model = there[model_app(APP, MODEL)]["deployments"][MODEL]
        workers = there[worker_app(APP)]["deployments"][WORKER]
        running = sum(each["state"] == "RUNNING" for each in model["replicas"])
        target, wanted = model["target_num_replicas"], workers["target_num_replicas"]
        return Sample(at, target, running, wanted, lag)

    def close(self) -> None:
        self._feed.close()
        self._watch.close()


def changes(numbers: Iterable[int]) -> int:
    """How often the next number is another one."""
    return sum(before != after for before, after in pairwise(numbers))


def run_scaling(
    *, load: float, step_s: float, teeth: int, tooth_s: float, say: Callable[[str], None]
) -> tuple[dict[str, Any], list[str]]:
    """Start everything, let the load come, and look; returns the figures and what is wrong.

    Args:
        load: of the step, and the height of the teeth: what so many replicas can do.
        step_s: how long the step lasts.
        teeth: of the sawtooth; 0 leaves it out.
        tooth_s: how long one takes.
        say: tells how it goes.
    """
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    with RayNodes(folder, head_cpus=4) as nodes, Kafka(data_dir=folder / "kafka") as kafka:
        nodes.start_head()
        scene = Scene(folder, nodes, kafka)
        say("deployed; the load begins")
        try:
            step = _seen(scene.run(lambda _: load, step_s, until_idle=True), say)
            teeth_s = teeth * tooth_s
            saw = (
                _seen(scene.run(lambda at: load * (at % tooth_s) / tooth_s, teeth_s), say)
                if teeth
                else []
            )
            rest = _seen(scene.run(lambda _: 0.0, 1.0, until_idle=True), say)
            while uncommitted(scene.settings.kafka):
                time.sleep(0.5)
        finally:
            scene.close()
        findings = audit(scene.settings, [each.id for each in scene.records[: scene.sent]])
    figures, faults = judged(load, step_s, step, saw)
    faults += findings.faults()
    figures |= {"records": findings.records, "lost": len(findings.lost), "rest_s": len(rest)}
    if faults:
        faults.append(f"the logs are in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return figures, faults


def judged(
    load: float, step_s: float, step: list[Sample], saw: list[Sample]
) -> tuple[dict[str, Any], list[str]]:
    """The figures of a step and a sawtooth, and what is wrong with them.

    It has settled when nothing has waited beyond what is on its way, or, at the latest, after
    three quarters of the step.
    """
    loaded = [each for each in step if each.at < step_s]
    enough = math.ceil(load / 1.1)
    reached = next((i for i, each in enumerate(loaded) if each.target >= enough), None)
    way = 2.0 * RTFX * load  # records take a few seconds from end to end
    drained = next(
        (each.at for each in loaded if reached is not None and each.at > 20 and each.lag <= way),
        None,
    )
    settled = [each for each in loaded if each.at >= (step_s / 2)]
    second_half = saw[len(saw) // 2 :]
    figures: dict[str, Any] = {
        "steps_to_target": changes(each.target for each in loaded[: (reached or 0) + 1]),
        "target_s": round(loaded[reached].at, 1) if reached is not None else None,
        "changes_after_settling": changes(each.target for each in settled),
        "lag_drained_s": None if drained is None else round(drained, 1),
        "overshoot": max(each.target for each in loaded) - math.ceil(load),
        "most_workers": max(each.workers for each in step),
        "changes_of_sawtooth": changes(each.target for each in second_half),
    }
    faults = []
    if reached is None:
        faults.append(f"a load of {load} got {max(each.target for each in loaded)} replicas")
    if figures["changes_after_settling"] > 2:
        faults.append("after settling, the number of replicas went on changing")
    if figures["changes_of_sawtooth"] > 2:
        faults.append("a sawtooth made the number of replicas go up and down")
    return figures, faults


def _seen(samples: Iterable[Sample], say: Callable[[str], None]) -> list[Sample]:
    found: list[Sample] = []
    for sample in samples:
        if not found or found[-1][1:4] != sample[1:4] or int(sample.at) % 30 == 0:
            say(
                f"{sample.at:6.1f} s  replicas {sample.running} of {sample.target}, "
                f"workers {sample.workers}, lag {sample.lag}"
            )
        found.append(sample)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--load", type=float, default=3.4, help="in replicas")
    parser.add_argument("--step", type=float, default=300.0, help="seconds")
    parser.add_argument("--teeth", type=int, default=10)
    parser.add_argument("--tooth", type=float, default=30.0, help="seconds")
    given = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    return exit_code_of(
        lambda: run_scaling(
            load=given.load,
            step_s=given.step,
            teeth=given.teeth,
            tooth_s=given.tooth,
            say=console.print,
        ),
        FAILURES,
        console,
    )


if __name__ == "__main__":
    sys.exit(main())
