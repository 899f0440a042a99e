"""A real Prometheus beside a stack."""

from __future__ import annotations

import math
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from deploy.observability.files import FOLDER
from workers.broker.ports import free_ports

_EXAMPLE = FOLDER / "prometheus.yaml"
#: It asks this often, in seconds, and waits as long for an answer.
_SCRAPE_S = 1


class Prometheus:
    """A server that runs.

    Args:
        url: of its API.
    """

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=f"{url}/api/v1", timeout=30)
        self._begin = time.time()

    def value(self, query: str) -> float | None:
        """The sum of what a query finds; None where it finds nothing."""
        found = self._get("query", query=query)["result"]
        return sum(float(each["value"][1]) for each in found) if found else None

    def has_found(self, query: str) -> bool:
        """Whether a query has found any number since the start."""
        times = {"start": str(self._begin), "end": str(time.time()), "step": "3"}
        found = self._get("query_range", query=query, **times)["result"]
        values = (float(value) for series in found for _, value in series["values"])
        return any(not math.isnan(value) for value in values)

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

    def alerts(self, *states: str) -> set[str]:
        """Alerts that fire ("firing") or are about to ("pending")."""
        found = self._get("alerts")["alerts"]
        return {each["labels"]["alertname"] for each in found if each["state"] in states}

    def _get(self, what: str, **parameters: str) -> dict[str, Any]:
        answer = self._client.get(f"/{what}", params=parameters)
        answer.raise_for_status()
        return dict(answer.json()["data"])


@contextmanager
def prometheus(folder: Path, targets: Mapping[str, int], rules: Path) -> Iterator[Prometheus]:
    """A Prometheus that fetches from ports of this machine and evaluates rules.

    Args:
        folder: for its data.
        targets: ports by job of the example, whose relabelling they have.
        rules: file of the rules.

    Raises:
        FileNotFoundError: Prometheus is not installed.
    """
    program = shutil.which("prometheus")
    if program is None:
        raise FileNotFoundError("there is no `prometheus`; Debian has a package of that name")
    config = {
        "global": {
            "scrape_interval": f"{_SCRAPE_S}s",
            "scrape_timeout": f"{_SCRAPE_S}s",
            "evaluation_interval": "1s",
        },
        "rule_files": [str(rules)],
        "scrape_configs": [_job(name, port) for name, port in targets.items()],
    }
    folder.mkdir()
    file = folder / "prometheus.yaml"
    file.write_text(yaml.safe_dump(config))
    [port] = free_ports(1)
    arguments = [f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}"]
    arguments.append(f"--web.listen-address=127.0.0.1:{port}")
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([program, *arguments], stdout=log, stderr=log)
    try:
        yield Prometheus(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait()


def _job(name: str, port: int) -> dict[str, Any]:
    """A job of the example that fetches from a port of this machine."""
    jobs = yaml.safe_load(_EXAMPLE.read_text())["scrape_configs"]
    [job] = [each for each in jobs if each["job_name"] == name]
    kept = {key: value for key, value in job.items() if not key.endswith("_sd_configs")}
    return kept | {"static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
