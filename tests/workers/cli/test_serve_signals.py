"""`chorus serve` as a process, with requests under way, and signals."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import msgspec
import pytest
import soundfile

from deploy.local import ROOT
from tests.serve_app.conftest import stand_in, tone
from tests.waiting import until
from workers.broker.ports import free_ports

pytestmark = [pytest.mark.ray, pytest.mark.slow]

#: Only where a test fails is it waited for so long.
WAIT_S = 120.0


async def test_a_signal_to_the_whole_process_group_is_a_stop_in_order(tmp_path: Path) -> None:
    """A terminal and supervisors send it to Ray's processes too, which must outlive their work."""
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
            answer = asyncio.create_task(client.post(url, files={"file": audio.getvalue()}))
            await until(lambda: "start" in events.read_text(), WAIT_S)
            calls = asyncio.create_task(asyncio.to_thread(call_until_refused, port))
            os.killpg(serve.pid, signal.SIGTERM)
            await until(lambda: not ready.exists(), WAIT_S)
            gate.unlink()
            assert (await answer).status_code == 200
            assert (await calls)[-1] == 503
        said, _ = await asyncio.to_thread(serve.communicate, timeout=WAIT_S)
    finally:
        gate.unlink(missing_ok=True)
        serve.kill()
    assert serve.returncode == 0
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
