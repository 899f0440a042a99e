"""`chorus serve` as a process, with requests under way, and signals."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec
import psutil
import pytest
import soundfile

from deploy.local import ROOT
from tests.serve_app.conftest import stand_in, tone
from tests.waiting import until
from workers.broker.ports import free_ports

pytestmark = [pytest.mark.ray, pytest.mark.slow]

#: Only where a test fails is it waited for so long.
WAIT_S = 120.0


def tree(pid: int) -> list[psutil.Process]:
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def to_the_group(pid: int) -> None:
    """As a terminal does, and some supervisors."""
    os.killpg(pid, signal.SIGTERM)


def to_each(pid: int) -> None:
    """As systemd does by default."""
    for process in tree(pid):
        process.send_signal(signal.SIGTERM)


@pytest.mark.parametrize("send", [to_the_group, to_each])
async def test_a_signal_to_all_processes_is_a_stop_in_order(
    tmp_path: Path, send: Callable[[int], None]
) -> None:
    """It reaches Ray's processes too, which must outlive their work."""
    gate, events, ready = tmp_path / "gate", tmp_path / "events", tmp_path / "ready.json"
    [port] = free_ports(1)
    settings = {
        "models": {"general": stand_in(gate=str(gate), events=str(events))},
        "routing": {"default": "general"},
        "audio": {"roots": [str(tmp_path)]},
        "http": {"port": port, "num_cpus": 0},
        "serve": {"app": "signals", "router_num_cpus": 0},
    }
    path = tmp_path / "settings.yaml"
    path.write_bytes(msgspec.yaml.encode(settings))
    audio = io.BytesIO()
    soundfile.write(audio, tone(), 16_000, format="WAV")
    command = [sys.executable, "-m", "workers.cli", "serve", "--settings", str(path)]
    serve = subprocess.Popen(
        [*command, "--ready-file", str(ready)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        await until(ready.exists, WAIT_S)
        gate.touch()
        events.write_text("")  # what came before was to check the engine
        async with httpx.AsyncClient(timeout=WAIT_S) as client:
            url = f"http://127.0.0.1:{port}/v1/audio/transcriptions"
            files = {"file": audio.getvalue()}
            answer = asyncio.create_task(client.post(url, files=files))
            events_of = {"model": "general", "stream": "true"}
            stream = asyncio.create_task(client.post(url, files=files, data=events_of))
            await until(lambda: "start" in events.read_text(), WAIT_S)
            processes = tree(serve.pid)
            calls = asyncio.create_task(asyncio.to_thread(call_until_refused, port))
            send(serve.pid)
            await until(lambda: not ready.exists(), WAIT_S)
            gate.unlink()
            assert (await answer).status_code == 200
            assert "transcript.text.done" in (await stream).text
            assert (await calls)[-1] == 503
        said, _ = await asyncio.to_thread(serve.communicate, timeout=WAIT_S)
    finally:
        gate.unlink(missing_ok=True)
        serve.kill()
    assert serve.returncode == 0
    assert psutil.wait_procs(processes, WAIT_S)[1] == []
    [line] = [line for line in said.splitlines() if "logs" in line]
    logs = Path(line.rpartition(" ")[2])
    assert any("general" in log.name for log in logs.iterdir())


def call_until_refused(port: int) -> list[int]:
    """The statuses of requests on connections of their own; a reset is an error."""
    statuses: list[int] = []
    while True:
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/v1/models", timeout=WAIT_S)
        except httpx.ConnectError:
            return statuses
        statuses.append(answer.status_code)
        assert answer.status_code in (200, 503)
