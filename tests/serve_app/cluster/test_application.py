"""Starting the application; the application itself is tested in test_router.py."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import psutil
import pytest

from deploy.local import ROOT
from schemas.manifest import ManifestRecord
from schemas.settings import Settings
from tests.processes import command_of
from tests.serve_app.conftest import stand_in

pytestmark = [pytest.mark.ray, pytest.mark.slow]

#: In another process, on the cluster of the session: an application whose model fails to load,
#: then a call of the application that runs there.
OTHER_PROCESS = """
import asyncio, json, sys
import msgspec
from schemas.manifest import ManifestRecord
from schemas.settings import Settings
from serve_app.cluster import application, readiness

settings = msgspec.json.decode(sys.argv[1], type=Settings)
said = {}
try:
    application.start(settings, timeout_s=120)
except readiness.StartError as error:
    said["error"] = str(error)

from serve_app.cluster import ray_cluster
from serve_app.router.client import RouterClient

ray_cluster.connect(settings.serve.address)
records = msgspec.json.decode(sys.argv[2], type=list[ManifestRecord])
results = asyncio.run(RouterClient("tests").transcribe(records))
again = asyncio.run(RouterClient("tests").transcribe(records))  # on another event loop
said["texts"] = [result.pred_text for result in results]
said["same"] = [result.pred_text for result in again] == said["texts"]
print(json.dumps(said))
"""


def test_another_process_uses_the_cluster_and_spoils_nothing(
    application: Any, settings: Settings, make_record: Callable[..., ManifestRecord]
) -> None:
    broken = msgspec.convert(
        {
            **msgspec.to_builtins(settings),
            "models": {"broken": stand_in(fail_to_load=True)},
            "routing": {"default": "broken"},
            "serve": {"app": "other", "router_num_cpus": 0, "address": application.address},
        },
        Settings,
    )
    records = msgspec.json.encode([make_record("a"), make_record("b", domain="medical")])
    done = subprocess.run(
        [sys.executable, "-c", OTHER_PROCESS, msgspec.json.encode(broken), records],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
        timeout=200,
    )
    said = json.loads(done.stdout.splitlines()[-1])
    assert "broken: " in said["error"]
    assert "told to fail" in said["error"]
    assert len(said["texts"]) == 2
    assert said["same"]


def test_workers_come_from_the_fork_server(application: Any) -> None:
    """A replica that does not costs ten seconds of CPU more."""
    if application.fork_server is None:
        pytest.skip("no fork server on this machine")
    replicas = [
        process
        for process in psutil.Process().children(recursive=True)
        if process.name().startswith("ray::Serve")
        and command_of(process)  # not one that has ended, of a cluster of an earlier test
    ]
    assert len(replicas) >= 5  # the controller, the Router, three models
    assert {psutil.Process(process.ppid()).cmdline()[2] for process in replicas} == {
        "serve_app.cluster.quick_start.fork_server"
    }


def test_the_states_are_those_that_serve_tells_at_length(application: Any) -> None:
    from serve_app.system.ray_adapter import app_statuses, serve

    told = serve.status().applications
    found = app_statuses()
    assert found.keys() == told.keys()
    assert application.app in found
    for name, status in told.items():
        assert found[name].state == status.status.value
        assert found[name].message == status.message
        assert {
            (each, one.state, one.message) for each, one in found[name].deployments.items()
        } == {(each, one.status.value, one.message) for each, one in status.deployments.items()}
