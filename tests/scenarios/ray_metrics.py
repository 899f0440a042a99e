"""The dashboards on a cluster whose nodes serve the metrics, under Ray's names."""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import yaml

from deploy.demo import SPEECH
from deploy.local import CHORUS, ROOT
from deploy.observability import models
from deploy.observability.catalogue import DASHBOARDS
from deploy.observability.files import RULES
from deploy.observability.queries import RAY, filled
from tests.ray_nodes import RayNodes
from tests.scenarios.prometheus import Prometheus, prometheus
from workers.broker.ports import free_ports

#: Of rates, where Prometheus asks every second.
WINDOW = "15s"
#: Ray's agent serves new values every ten seconds.
_PATIENCE_S = 60.0


def found_on_ray() -> tuple[set[str], list[str]]:
    """Which queries find something there, and what does not and should.

    That is each query on models, and what is asked of Ray itself but for GPUs.

    Raises:
        RuntimeError: nothing could be deployed.
    """
    with (
        tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as name,
        RayNodes(Path(name), head_cpus=4, metrics=True) as nodes,
    ):
        nodes.start_head()
        folder = Path(name)
        api = _deployed(folder, nodes.dashboard)
        [port] = filter(None, [urlsplit(nodes.metrics_url).port])
        with prometheus(folder / "prometheus", {"ray": port}, RULES) as server:
            return _asked(server, api)


def _asked(server: Prometheus, api: int) -> tuple[set[str], list[str]]:
    queries = [each for board in DASHBOARDS for panel in board.panels() for each in panel.queries]
    needed = [
        each.expression
        for panel in models.DASHBOARD.panels()
        for each in panel.queries
        if not each.silent
    ]
    needed += [series for what, series in RAY.items() if what != "gpu"]
    clip = next(SPEECH.rglob("*.flac")).read_bytes()
    until = time.monotonic() + _PATIENCE_S
    missing = needed
    while missing and time.monotonic() < until:
        for _ in range(5):
            httpx.post(
                f"http://127.0.0.1:{api}/v1/audio/transcriptions",
                files={"file": ("a.flac", clip)},
                timeout=60,
            ).raise_for_status()
        missing = [each for each in needed if not server.has_found(filled(each, WINDOW))]
    found = {
        each.expression for each in queries if server.has_found(filled(each.expression, WINDOW))
    }
    return found, missing


def _deployed(folder: Path, dashboard: str) -> int:
    """Deploy a model with the API; the API's port."""
    [port] = free_ports(1)
    model = {"engine": "tests.standin:StandInEngine", "num_cpus": 0}
    settings: dict[str, Any] = {
        "models": {"general": model},
        "routing": {"default": "general"},
        "audio": {"roots": [str(SPEECH)]},
        "serve": {"router_num_cpus": 0},
        "http": {"port": port, "num_cpus": 0},
    }
    file = folder / "chorus.yaml"
    file.write_text(yaml.safe_dump(settings))
    command = [*CHORUS, "deploy", "--settings", str(file), "--address", dashboard]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(
            f"`chorus deploy` ended with code {done.returncode}: {done.stderr[-500:]}"
        )
    return port
