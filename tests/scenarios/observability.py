"""A real Prometheus beside a running stream: every metric is seen, and the alerts are silent.

A worker is killed and started again while records flow. Sums over its counters are compared with
what the topics hold: they may be a little low, never high.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml
from kafka.errors import KafkaError
from rich.console import Console

from deploy.local import ROOT, ChildDiedError, LocalStack
from schemas.manifest import ManifestRecord
from serve_app.telemetry.definitions import HTTP, STREAM, Metric
from tests.scenarios.audit import audit, uncommitted
from tests.scenarios.outcome import exit_code_of
from tests.scenarios.settings import BASE, fault_settings
from tests.scenarios.speech import many_records
from tests.scenarios.stream_watch import CommitWatch, Feed
from workers.broker.broker import BrokerError
from workers.broker.ports import free_ports

ALERTS = ROOT / "deploy" / "observability" / "alerts.yaml"
FAILURES = (ChildDiedError, BrokerError, KafkaError, TimeoutError, FileNotFoundError)
_STALL_S = 180.0
_LEAD = 200
#: Prometheus asks this often, in seconds.
_SCRAPE_S = 1
#: Metrics that say nothing while all is well: of aliases that name versions.
_SILENT = {"chorus_model_refusals_total"}


class Prometheus:
    """A server that runs.

    Args:
        url: of its API.
    """

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=f"{url}/api/v1", timeout=30)

    def value(self, query: str) -> float | None:
        """The sum of what a query finds; None where it finds nothing."""
        found = self._get("query", query=query)["result"]
        return sum(float(each["value"][1]) for each in found) if found else None

    def counted(self, counter: str) -> float:
        """What a counter has counted in the last ten minutes, over all of its resets."""
        total = 0.0
        for series in self._get("query", query=f"{counter}[10m]")["result"]:
            before = 0.0
            for _, text in series["values"]:
                value = float(text)
                total += value - before if value >= before else value
                before = value
        return total

    def broken_rules(self) -> list[str]:
        """Rules that cannot be evaluated."""
        rules = [rule for group in self._get("rules")["groups"] for rule in group["rules"]]
        return [each["name"] for each in rules if each.get("lastError")]

    def alerts(self) -> list[str]:
        """Alerts that fire or are about to."""
        return [each["labels"]["alertname"] for each in self._get("alerts")["alerts"]]

    def _get(self, what: str, **parameters: str) -> dict[str, Any]:
        answer = self._client.get(f"/{what}", params=parameters)
        answer.raise_for_status()
        return dict(answer.json()["data"])


@contextmanager
def prometheus(folder: Path, targets: dict[str, int]) -> Iterator[Prometheus]:
    """A Prometheus that fetches from ports of this machine and evaluates the alerts.

    Args:
        folder: for its data.
        targets: ports by job.
    """
    program = shutil.which("prometheus")
    if program is None:
        raise FileNotFoundError("there is no `prometheus`; Debian has a package of that name")
    config = {
        "global": {"scrape_interval": f"{_SCRAPE_S}s", "evaluation_interval": "2s"},
        "rule_files": [str(ALERTS)],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
            for job, port in targets.items()
        ],
    }
    file = folder / "prometheus.yaml"
    file.write_text(yaml.safe_dump(config))
    [port] = free_ports(1)
    arguments = [f"--config.file={file}", f"--storage.tsdb.path={folder / 'prometheus'}"]
    arguments.append(f"--web.listen-address=127.0.0.1:{port}")
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([program, *arguments], stdout=log, stderr=log)
    try:
        yield Prometheus(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait()


def run_observability(count: int, say: Callable[[str], None]) -> tuple[dict[str, Any], list[str]]:
    """Start everything, let it run, and look; returns the figures and what is wrong."""
    status, api = free_ports(2)
    settings = {
        **fault_settings("stand-in"),
        "http": {"port": api, "num_cpus": 0.1},
        "stream": {"status": {"port": status}},
    }
    missing = ManifestRecord(id="absent", audio_filepath="absent.wav")
    records = [*many_records(count), missing]
    with LocalStack(settings, BASE) as stack:
        stack.start_broker()
        stack.start_serve()
        stack.wait_for_serve()
        with prometheus(stack.folder, {"chorus-stream": status, "chorus-http": api}) as server:
            _stream(stack, records, say)
            _call(api)
            time.sleep(15)  # the lag is looked at every ten seconds
            seen = _seen(server)
            counted = server.counted("chorus_stream_records_total")
            counted += server.counted("chorus_stream_dead_letters_total")
            broken, fired = server.broken_rules(), server.alerts()
        findings = audit(stack.settings, [each.id for each in records])
        told = findings.transcripts + len(findings.dead_lettered)
        stack.keep_folder = bool(broken)
    defined = [*STREAM, *HTTP]
    unseen = [each.prometheus_name for each in defined if each not in seen]
    unseen = [name for name in unseen if name not in _SILENT]
    faults = [f"never seen: {', '.join(unseen)}"] if unseen else []
    faults += [f"rules that cannot be evaluated: {', '.join(broken)}"] if broken else []
    faults += [f"alerts without a cause: {', '.join(fired)}"] if fired else []
    figures = {
        "metrics_defined": len(defined),
        "metrics_seen": len(seen),
        "alerts": sum("alert" in rule for rule in _rules()),
        "fired_when_not": len(fired),
        "records": told,
        "lost": len(findings.lost),
        "counted": counted,
    }
    if counted > told:
        faults.append(f"{counted:.0f} records counted of {told}")
    return figures, faults


def _rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _seen(server: Prometheus) -> list[Metric]:
    return [
        each
        for each in (*STREAM, *HTTP)
        if server.value(
            f"last_over_time({each.prometheus_name}"
            f"{'_count' if each.kind == 'histogram' else ''}[10m])"
        )
        is not None
    ]


def _stream(stack: LocalStack, records: list[ManifestRecord], say: Callable[[str], None]) -> None:
    """Have all records transcribed; in the middle the worker is killed and comes again."""
    settings = stack.settings
    feed, watch = Feed(settings.kafka, records), CommitWatch(settings.kafka)
    killed, last = False, time.monotonic()
    stack.start_worker()
    try:
        while watch.count < len(records):
            before = watch.count
            feed.up_to(before + _LEAD)
            if watch.look(0.5) > before:
                last = time.monotonic()
            elif time.monotonic() - last > _STALL_S:
                raise TimeoutError(f"{watch.count} of {len(records)} results, and no more")
            if not killed and watch.count > len(records) // 2:
                killed = True
                say(f"{watch.count} results; the worker is killed")
                stack.kill_worker("0")
                stack.start_worker()
        feed.finish()
        while uncommitted(settings.kafka):
            time.sleep(0.5)
    finally:
        feed.close()
        watch.close()


def _call(port: int) -> None:
    clip = next(BASE.rglob("*.flac"))
    with clip.open("rb") as file:
        answer = httpx.post(
            f"http://127.0.0.1:{port}/v1/audio/transcriptions", files={"file": file}, timeout=60
        )
    answer.raise_for_status()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=2000)
    given = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    return exit_code_of(lambda: run_observability(given.records, console.print), FAILURES, console)


if __name__ == "__main__":
    sys.exit(main())
