"""An upgrade by a second cluster: two on one topic and group, then the old one goes.

That is what KubeRay does for another image: it makes a second cluster, waits until its applications
run, and ends the first one's pods. The stream workers of both share the group meanwhile. Every
record must be transcribed exactly once, and no worker may take the place of another.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

from rich.console import Console

from tests.ray_nodes import RayNodes
from tests.scenarios.audit import audit, uncommitted
from tests.scenarios.cluster import FAILURES, PARTITIONS, Installation, Stream
from tests.scenarios.outcome import exit_code_of
from workers.broker.cluster import Cluster as Kafka
from workers.kafka.groups import group_members
from workers.kafka.topics import ensure_settings_topics

_CPUS = 4
_WORKERS = 2
#: `terminationGracePeriodSeconds` of a pod, shorter here.
_GRACE_S = 40.0
#: What a worker says whose place another one has taken.
_FENCED = "another worker runs as instance"


def run_upgrade(count: int, say: Callable[[str], None]) -> tuple[dict[str, Any], list[str]]:
    """Start everything, let it happen, and look; returns the figures and what is wrong."""
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    begin = time.monotonic()

    def tell(text: str) -> None:
        say(f"{time.monotonic() - begin:7.1f} s  {text}")

    with (
        Kafka(data_dir=folder / "kafka") as kafka,
        RayNodes(folder / "a", head_cpus=_CPUS, name="blue") as old,
        RayNodes(folder / "b", head_cpus=_CPUS, name="green") as new,
    ):
        old.start_head()
        first = Installation(folder / "a", old, kafka, workers=_WORKERS)
        settings = first.settings
        ensure_settings_topics(settings.kafka, PARTITIONS)
        first.deploy()
        tell("the old cluster runs")
        stream = Stream(settings, count)
        try:
            stream.until(2 * count // 10)
            new.start_head()
            Installation(folder / "b", new, kafka, workers=_WORKERS).deploy(stream)
            tell("the new cluster runs too")
            members = _join(stream, settings.kafka, 2 * _WORKERS)
            tell(f"in the group: {', '.join(members)}")
            stream.until(6 * count // 10)
            _stop(old, stream)
            tell("the old cluster has gone")
            stream.finish()
            while uncommitted(settings.kafka):
                stream.look()
        finally:
            stream.close()
        fenced = sum(each.replica_logs().count(_FENCED) for each in (old, new))
        findings = audit(settings, [record.id for record in stream.records])
    faults = findings.faults()
    if fenced:
        faults.append(f"workers took each other's place {fenced} times")
    if len(set(members)) != 2 * _WORKERS:
        faults.append(f"the workers of both clusters did not share the group: {members}")
    if faults:
        faults.append(f"the logs are in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    figures = {
        **findings.figures(),
        "fenced": fenced,
        "workers_together": len(members),
        "longest_gap_s": round(stream.longest_gap_s, 1),
        "seconds": round(time.monotonic() - begin, 1),
    }
    return figures, faults


def _join(stream: Stream, kafka: Any, count: int) -> list[str]:
    """Wait until the group has so many members; the names of their instances."""
    deadline = time.monotonic() + 120
    while True:
        stream.look()
        members = [str(each["group_instance_id"]) for each in group_members(kafka)]
        if len(members) >= count or time.monotonic() > deadline:
            return sorted(members)


def _stop(old: RayNodes, stream: Stream) -> None:
    """End the old cluster while the records flow."""
    ending = Thread(target=old.stop_head, args=(_GRACE_S,))
    ending.start()
    while ending.is_alive():
        stream.look()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=3000)
    given = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    return exit_code_of(lambda: run_upgrade(given.records, console.print), FAILURES, console)


if __name__ == "__main__":
    sys.exit(main())
