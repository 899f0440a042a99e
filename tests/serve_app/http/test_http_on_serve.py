"""The HTTP API on a real Serve, behind its proxy: what only shows there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile

from schemas.manifest import ManifestRecord
from schemas.settings import Settings
from tests.serve_app.conftest import RATE, tone
from tests.serve_app.router.test_replica import eventually, exists, replica
from tests.standin import text_of

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

PATH = "/v1/audio/transcriptions"


@pytest.fixture(scope="module")
def address(application: Any, settings: Settings) -> Iterator[str]:
    from serve_app.cluster.application import delete_application, run_application
    from serve_app.http import deployment

    name = deployment.app_name(settings)
    run_application(deployment.build(settings), name, route_prefix="/")
    yield deployment.address(settings)
    delete_application(name)


@pytest.fixture
async def client(address: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=address, timeout=60) as found:
        yield found


@pytest.fixture
def speech(tmp_path: Path) -> tuple[bytes, str]:
    """A file, and what the stand-in hears in it."""
    path = tmp_path / "speech.wav"
    soundfile.write(path, tone(0.5, 3), RATE, subtype="PCM_16")
    return path.read_bytes(), text_of(soundfile.read(path, dtype="float32")[0])


async def ask(client: httpx.AsyncClient, data: bytes, model: str = "auto") -> httpx.Response:
    return await client.post(PATH, files={"file": ("speech.wav", data)}, data={"model": model})


async def test_a_file_is_transcribed(client: httpx.AsyncClient, speech: tuple[bytes, str]) -> None:
    data, text = speech
    answer = await ask(client, data, "medical")
    assert answer.status_code == 200, answer.text
    assert answer.json()["text"] == text
    assert len(answer.headers.get_list("x-request-id")) == 1
    ready = await client.get("/ready")
    assert ready.json()["models"] == {"general": True, "medical": True, "fragile": True}


async def test_a_manifest_is_transcribed(
    client: httpx.AsyncClient, make_record: Callable[..., ManifestRecord]
) -> None:
    from schemas.manifest import encode_manifest

    lines = [encode_manifest(make_record(f"m{n}", tone(0.2, n))) for n in range(5)]
    answer = await client.post("/v1/manifests", content=b"\n".join([*lines, b"{}"]))
    assert answer.status_code == 200
    found = {line["id"]: line for line in map(_decoded, answer.text.splitlines())}
    assert set(found) == {"m0", "m1", "m2", "m3", "m4", "6"}
    assert all(found[f"m{n}"]["pred_text"] for n in range(5))
    assert "audio_filepath" in found["6"]["processing_error"]


def _decoded(line: str) -> dict[str, Any]:
    import json

    decoded: dict[str, Any] = json.loads(line)
    return decoded


async def test_the_proxy_bounds_bodies(client: httpx.AsyncClient) -> None:
    answer = await ask(client, b"\0" * (3 << 20))
    assert answer.status_code == 413
    assert answer.json()["error"]["message"].startswith("the body has more than")


async def test_a_model_that_dies_over_a_request_is_asked_again(
    client: httpx.AsyncClient, speech: tuple[bytes, str], gate: Path, events: Path
) -> None:
    data, text = speech
    gate.touch()
    events.unlink(missing_ok=True)
    try:
        call = asyncio.create_task(ask(client, data, "fragile"))
        await eventually(lambda: exists(events))  # the model works on it
        replica("fragile").kill()
    finally:
        gate.unlink()
    answer = await call
    assert (answer.status_code, answer.json().get("text")) == (200, text)


async def test_a_request_whose_replica_dies_is_told_to_try_again(
    client: httpx.AsyncClient, speech: tuple[bytes, str], gate: Path, events: Path
) -> None:
    data, text = speech
    gate.touch()
    events.unlink(missing_ok=True)
    try:
        call = asyncio.create_task(ask(client, data, "fragile"))
        await eventually(lambda: exists(events))
        replica("Http").kill()
        answer = await call
    finally:
        gate.unlink()
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json()["error"]["code"] == "interrupted"

    async def back() -> bool:
        found = await ask(client, data)
        return found.status_code == 200 and found.json()["text"] == text

    await eventually(back)


async def test_a_client_that_goes_away_ends_its_work(
    address: str, client: httpx.AsyncClient, speech: tuple[bytes, str], gate: Path, events: Path
) -> None:
    data, _ = speech
    gate.touch()
    events.write_text("")
    try:
        first = asyncio.create_task(ask(client, data, "fragile"))
        while not events.read_text():  # it is in the engine; the next one waits
            await asyncio.sleep(0.01)
        async with httpx.AsyncClient(base_url=address, timeout=1.0) as hasty:
            with pytest.raises(httpx.TimeoutException):
                await ask(hasty, data, "fragile")
        await asyncio.sleep(2.0)
    finally:
        gate.unlink()
    assert (await first).status_code == 200
    assert (await ask(client, data, "fragile")).status_code == 200
    assert events.read_text().split() == ["start", "1", "end", "1"] * 2


async def test_a_request_that_fails_is_in_the_log_of_its_replica(client: httpx.AsyncClient) -> None:
    answer = await ask(client, b"no audio")
    assert answer.status_code == 400
    name = answer.headers["x-request-id"]
    folder = Path(ray_log_folder()) / "serve"
    [found] = [path for path in folder.glob("*.log") if name in path.read_text()]
    assert "Http" in found.name
    [line] = [line for line in found.read_text().splitlines() if f"request {name}" in line]
    assert "audio_undecodable" in line


async def test_an_offer_of_http_2_is_answered_over_http_1(
    address: str, speech: tuple[bytes, str]
) -> None:
    data, text = speech
    offer = {
        "connection": "Upgrade, HTTP2-Settings",
        "upgrade": "h2c",
        "http2-settings": "AAMAAABk",
    }
    async with httpx.AsyncClient(base_url=address, timeout=60, headers=offer) as client:
        for _ in range(2):
            answer = await ask(client, data)
            assert (answer.status_code, answer.json()["text"]) == (200, text)
            assert answer.http_version == "HTTP/1.1"


async def test_without_the_api_a_client_is_told_to_try_again(
    client: httpx.AsyncClient, settings: Settings, speech: tuple[bytes, str]
) -> None:
    from serve_app.cluster.application import delete_application, run_application
    from serve_app.http import deployment

    name = deployment.app_name(settings)
    delete_application(name)
    try:
        answer = await ask(client, speech[0])
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "starting")
        assert int(answer.headers["retry-after"]) >= 1
    finally:
        run_application(deployment.build(settings), name, route_prefix="/")
    assert (await ask(client, speech[0])).status_code == 200


def ray_log_folder() -> str:
    """Where the processes of the cluster write their logs."""
    from serve_app.system.ray_adapter import ray

    return str(ray._private.worker._global_node.get_logs_dir_path())
