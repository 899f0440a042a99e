"""Models of a hub: from a server of this machine that speaks the Hugging Face hub's protocol."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from deploy.demo import MODELS
from tests.serve_app.engines.transformers import tiny_models

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {"acme/ward": ["README.md", "ward.nemo"], "acme/two": ["a.nemo", "b.nemo"], "acme/none": []}
#: Repositories with files of their own, and the names of those that were asked for.
FOLDERS: dict[str, Path] = {}
ASKED: list[str] = []

pytestmark = pytest.mark.slow


class _Hub(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self) -> None:
        parts = self.path.strip("/").split("/")
        if (folder := FOLDERS.get("/".join(parts[:2]))) and parts[2:4] == ["resolve", COMMIT]:
            ASKED.append(parts[4])
            self._send((folder / parts[4]).read_bytes())
            return
        if parts[:2] == ["api", "models"]:
            name, revision = "/".join(parts[2:4]), parts[5] if len(parts) > 5 else "main"
            if name in FILES and revision in ("main", "v2", COMMIT):
                siblings = [{"rfilename": each} for each in FILES[name]]
                self._send(json.dumps({"id": name, "sha": COMMIT, "siblings": siblings}).encode())
                return
        elif parts[2:4] == ["resolve", COMMIT] and parts[4] in FILES["/".join(parts[:2])]:
            self._send((MODELS / "medical.nemo").read_bytes())
            return
        self._send(b"{}", 404)

    def _send(self, content: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{sha256(content).hexdigest()}"')  # names the file in the cache
        self.send_header("X-Repo-Commit", COMMIT)
        if status == 404:
            self.send_header("X-Error-Code", "RevisionNotFound")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)


@pytest.fixture
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def models(hub: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_ENDPOINT": hub, "HF_HOME": str(folder / "hub")}
    command = [sys.executable, "-m", "workers.cli", "models", *arguments]
    command += ["--registry", str(folder / "models")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_model_is_pinned_to_the_commit_that_its_revision_names(hub: str, tmp_path: Path) -> None:
    done = models(
        hub, tmp_path, "import", "ward", "hf:acme/ward@v2", "--licence=MIT", "--json", "--no-trial"
    )
    assert done.returncode == 0, done.stderr
    card = json.loads(done.stdout)
    assert card["source"] == f"hf:acme/ward@{COMMIT}"
    assert (card["name"], card["version"], card["licence"]) == ("ward", "1", "MIT")
    assert card["model_class"] == "EncDecCTCModelBPE"
    again = models(hub, tmp_path, "import", "ward", "hf:acme/ward", "--no-trial")
    assert "has these files already" in again.stdout


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        ("hf:acme/two", [], "has the files a.nemo, b.nemo; choose one with --file"),
        ("hf:acme/none", [], "has no .nemo file"),
        ("hf:acme/ward@nowhere", [], "hf:acme/ward@nowhere"),
        ("hf:acme/two", ["--file", "c.nemo"], "hf:acme/two"),
    ],
)
def test_what_the_hub_does_not_have_is_told_in_a_sentence(
    hub: str, tmp_path: Path, source: str, options: list[str], said: str
) -> None:
    done = models(hub, tmp_path, "import", "ward", source, *options)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "models").exists()


def test_of_a_transformers_model_its_own_files_are_fetched(
    hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "calls"
    tiny_models.wav2vec2(folder)
    (folder / "pytorch_model.bin").write_bytes(b"never fetched")
    monkeypatch.setitem(FILES, "acme/calls", sorted(each.name for each in folder.iterdir()))
    monkeypatch.setitem(FOLDERS, "acme/calls", folder)
    ASKED.clear()
    done = models(
        hub, tmp_path, "import", "calls", "hf:acme/calls", "--engine=transformers", "--json"
    )
    assert done.returncode == 0, done.stderr
    card = json.loads(done.stdout)
    assert card["source"] == f"hf:acme/calls@{COMMIT}"
    assert (card["engine"], card["model_class"]) == ("transformers", "wav2vec2")
    assert set(ASKED) == set(card["files"])
    assert "pytorch_model.bin" not in card["files"]
    refused = models(hub, tmp_path, "import", "ward", "hf:acme/ward", "--engine=transformers")
    assert refused.returncode == 2
    assert "hf:acme/ward has no config.json" in refused.stderr
