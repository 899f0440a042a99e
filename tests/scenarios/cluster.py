"""A stream on a Ray cluster of three nodes, while models change, nodes die and workers scale.

The applications are deployed as `chorus deploy` does it, by the REST API. While the records flow,
the settings of a model change, a node is killed, another one is drained, the head is killed and
started again, and the stream workers become three and one again. Every record must be transcribed
exactly once, and the change of a model must restart that one only.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import yaml
from kafka.errors import KafkaError
from rich.console import Console

from deploy.demo import SPEECH
from schemas.settings import Settings, load_settings
from serve_app.cluster.readiness import StartError
from tests.processes import command_of
from tests.ray_nodes import RayNodes
from tests.scenarios.audit import audit, uncommitted
from tests.scenarios.outcome import exit_code_of
from tests.scenarios.speech import many_records
from tests.scenarios.stream_watch import CommitWatch, Feed
from workers.broker.broker import BrokerError
from workers.broker.cluster import Cluster as Kafka
from workers.deploying.changes import changes, to_deploy
from workers.deploying.cluster import Cluster
from workers.deploying.config import serve_config
from workers.kafka.topics import ensure_settings_topics

APP = "many"
PARTITIONS = 6
_CPUS = 4
#: Records that are produced ahead of what is committed.
_LEAD = 600
#: Without a new result for so long, something hangs.
_STALL_S = 240.0
_DEPLOY_S = 240.0
_DRAIN_S = 30
FAILURES = (TimeoutError, RuntimeError, StartError, BrokerError, KafkaError)


class Stream:
    """Records that flow, and how long nothing was committed.

    Attributes:
        longest_gap_s: longest time between two looks that found something new.
    """

    def __init__(self, settings: Settings, count: int) -> None:
        self.records = many_records(count)
        self._feed = Feed(settings.kafka, self.records)
        self._watch = CommitWatch(settings.kafka)
        self._last = time.monotonic()
        self._begun = False
        self.longest_gap_s = 0.0

    def until(self, count: int) -> None:
        """Produce and look until so many results are committed."""
        while self.look() < count:
            pass

    def look(self) -> int:
        """Produce a little, and look once; how many results are committed by now."""
        before = self._watch.count
        self._feed.up_to(before + _LEAD)
        found, now = self._watch.look(0.5), time.monotonic()
        if found > before:
            if self._begun:
                self.longest_gap_s = max(self.longest_gap_s, now - self._last)
            self._last, self._begun = now, True
        elif now - self._last > _STALL_S:
            raise TimeoutError(f"nothing committed for {_STALL_S:.0f} s, after {found} results")
        return found

    def finish(self) -> None:
        self._feed.finish()
        self.until(len(self.records))

    def close(self) -> None:
        self._feed.close()
        self._watch.close()


class Installation:
    """What is deployed, and how it changes.

    Args:
        folder: for the settings.
        nodes: the Ray cluster.
        kafka: the broker.
        workers: stream workers at the beginning.
    """

    def __init__(self, folder: Path, nodes: RayNodes, kafka: Kafka, *, workers: int = 1) -> None:
        self._file = folder / "chorus.yaml"
        self._nodes = nodes
        stand_in = {
            "engine": "tests.standin:StandInEngine",
            "num_cpus": 0.5,
            "options": {"delay_per_second": 0.005},
        }
        medical = {"name": "medical", "model": "medical"}
        self._raw: dict[str, Any] = {
            "models": {"general": {**stand_in, "replicas": 2}, "medical": dict(stand_in)},
            "routing": {
                "default": "general",
                "rules": [{**medical, "all": [{"field": "domain", "equals": "medical"}]}],
            },
            "audio": {"roots": [str(SPEECH)]},
            "serve": {"app": APP, "routers": 2, "router_num_cpus": 0.5},
            "kafka": {"bootstrap_servers": kafka.bootstrap_servers},
            "stream": {"workers": workers},
        }
        self._write()

    @property
    def settings(self) -> Settings:
        return load_settings(self._file)

    def change(self, section: str, name: str | None = None, **keys: object) -> None:
        """Change keys of a section, or of an entry in it."""
        place = self._raw.setdefault(section, {})
        (place if name is None else place[name]).update(keys)
        self._write()

    def deploy(self, stream: Stream | None = None) -> list[str]:
        """Deploy the settings and wait until all runs; which applications restart by it."""
        config = serve_config(self.settings, file=None, worker=True)
        names = [each["name"] for each in config["applications"]]
        wait: Callable[[], object] = stream.look if stream is not None else partial(time.sleep, 0.5)
        deadline = time.monotonic() + _DEPLOY_S
        while True:
            try:
                cluster = Cluster(self._nodes.dashboard)
                details = cluster.details()
                cluster.deploy(to_deploy(config, details, APP))
                break
            except (ConnectionError, RuntimeError):  # the head is on its way up
                if time.monotonic() > deadline:
                    raise
                wait()
        while not self.runs(cluster, names):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not deployed: {cluster.details()['applications']}")
            wait()
        return [each.name for each in changes(config, details, APP) if each.kind == "restart"]

    @staticmethod
    def runs(cluster: Cluster, names: list[str]) -> bool:
        """Whether all applications run."""
        try:
            there = cluster.details()["applications"]
        except ConnectionError:  # the head is on its way up
            return False
        return all(name in there and there[name]["status"] == "RUNNING" for name in names)

    def _write(self) -> None:
        self._file.write_text(yaml.safe_dump(self._raw))


def replicas() -> dict[str, set[int]]:
    """Process numbers of the replicas, by application."""
    found: dict[str, set[int]] = {}
    for process in psutil.process_iter():
        title = " ".join(command_of(process))
        if title.startswith(f"ray::ServeReplica:{APP}"):
            found.setdefault(title.split(":")[3], set()).add(process.pid)
    return found


def run_cluster(count: int, say: Callable[[str], None]) -> tuple[dict[str, Any], list[str]]:
    """Start everything, let it happen, and look; returns the figures and what is wrong."""
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    begin = time.monotonic()

    def tell(text: str) -> None:
        say(f"{time.monotonic() - begin:7.1f} s  {text}")

    with RayNodes(folder) as nodes, Kafka(data_dir=folder / "kafka") as kafka:
        nodes.start_head()
        nodes.add("node-0", _CPUS)
        nodes.add("node-1", _CPUS)
        installation = Installation(folder, nodes, kafka)
        settings = installation.settings
        ensure_settings_topics(settings.kafka, PARTITIONS)
        installation.deploy()
        tell("three nodes; the applications run")
        stream = Stream(settings, count)
        try:
            restarted = _happen(stream, installation, nodes, tell, count)
            _until(stream, lambda: uncommitted(settings.kafka) == 0)
        finally:
            stream.close()
        findings = audit(settings, [record.id for record in stream.records])
    faults = findings.faults()
    if restarted != [f"{APP}-model-medical"]:
        faults.append(f"the change of a model restarted {restarted}")
    if not faults:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        faults.append(f"the logs are in {folder}")
    figures = {
        **findings.figures(),
        "restarted_apps": restarted,
        "longest_gap_s": round(stream.longest_gap_s, 1),
        "seconds": round(time.monotonic() - begin, 1),
    }
    return figures, faults


def _happen(
    stream: Stream,
    installation: Installation,
    nodes: RayNodes,
    tell: Callable[[str], None],
    count: int,
) -> list[str]:
    """All that happens while the records flow; which applications the change of a model restarted.

    They are found in two ways: what was said before, and whose processes are others afterwards.
    """
    stream.until(count // 10)
    before = replicas()
    installation.change("models", "medical", num_cpus=0.75)
    said = installation.deploy(stream)
    after = replicas()
    restarted = sorted(name for name in before if before[name] != after.get(name))
    tell(f"a model changed; restarted: {', '.join(restarted)}")
    if said != restarted:
        raise RuntimeError(f"to be restarted were {said}; the replicas of {restarted} are others")
    stream.until(3 * count // 10)
    nodes.kill(0)
    tell("a node was killed")
    nodes.add("node-2", _CPUS)
    stream.until(4 * count // 10)
    nodes.drain("node-1", _DRAIN_S)
    tell("a node is being drained")
    nodes.add("node-3", _CPUS)
    gone = time.monotonic() + _DRAIN_S
    _until(stream, lambda: time.monotonic() > gone)
    nodes.kill(1)
    tell("it is gone")
    stream.until(5 * count // 10)
    nodes.kill_head()
    tell("the head was killed")
    nodes.start_head()
    tell("the head is back")
    stream.until(6 * count // 10)
    for workers in (3, 1):
        installation.change("stream", workers=workers)
        installation.deploy(stream)
        tell(f"{workers} stream worker(s)")
        stream.until((9 - workers // 2) * count // 10)
    stream.finish()
    return restarted


def _until(stream: Stream, condition: Callable[[], bool]) -> None:
    while not condition():
        stream.look()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=5000)
    given = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    return exit_code_of(lambda: run_cluster(given.records, console.print), FAILURES, console)


if __name__ == "__main__":
    sys.exit(main())
