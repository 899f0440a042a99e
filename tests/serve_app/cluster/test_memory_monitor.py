"""A record for which Ray's memory monitor kills replicas, on a real Ray in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import psutil
import pytest

from deploy.local import ROOT
from schemas.settings import Settings
from tests.serve_app.conftest import record, stand_in, write
from tests.standin import DEVOURED_BYTES, marked_clip

pytestmark = [pytest.mark.ray, pytest.mark.slow]

#: What the cluster takes by itself, and some to spare.
MARGIN_BYTES = 3 << 30

PROGRAM = """
import asyncio, json, sys, time
import msgspec
from schemas.manifest import ManifestRecord
from schemas.settings import Settings
from serve_app.cluster import application
from serve_app.cluster.watch import Watch
from serve_app.router.client import RouterClient

settings = msgspec.json.decode(sys.argv[1], type=Settings)
records = msgspec.json.decode(sys.argv[2], type=list[ManifestRecord])
running = application.start(settings, timeout_s=200)
try:
    watch = Watch(running.apps, running.app)
    [result] = asyncio.run(RouterClient(settings.serve.app).transcribe(records))
    news, deadline = [], time.monotonic() + 60
    while not any("general" in line for line in news) and time.monotonic() < deadline:
        time.sleep(0.1)
        news += watch.news()
    watch.close()
    with open(sys.argv[3], "w") as file:
        json.dump([result.failure, result.message, news], file)
finally:
    application.stop(running)
"""


def test_a_record_that_takes_all_memory_is_a_suspect(tmp_path: Path) -> None:
    memory = psutil.virtual_memory()
    if memory.available < DEVOURED_BYTES + MARGIN_BYTES:
        pytest.skip("needs 9 GB of free memory")
    settings = msgspec.convert(
        {
            "models": {"general": stand_in()},
            "routing": {"default": "general"},
            "audio": {"roots": [str(tmp_path)]},
            "serve": {"app": "devoured", "router_num_cpus": 0},
        },
        Settings,
    )
    limit = (memory.total - memory.available + MARGIN_BYTES) / memory.total
    said = tmp_path / "said.json"
    environment = {
        "RAY_memory_usage_threshold": f"{limit:.3f}",
        "RAY_memory_monitor_refresh_ms": "100",
    }
    devouring = record(write(tmp_path / "a.wav", marked_clip("devour")))
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            PROGRAM,
            msgspec.json.encode(settings),
            msgspec.json.encode([devouring]),
            said,
        ],
        cwd=ROOT,
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        text=True,
        timeout=250,
    )
    failure, message, news = json.loads(said.read_text())
    assert failure == "suspect"
    assert "was killed because the memory of its machine ran out" in message
    assert any(
        line.startswith(
            "devoured: a replica of general was killed because the memory of its machine"
        )
        for line in news
    )
    assert "(raylet)" not in done.stdout + done.stderr, "Ray's own lines name no model"
