"""The distribution as a user installs it: its base alone, and the base with one extra."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from deploy.local import ROOT
from tests.serve_app.http.conftest import FakeRouter, on_network, settings_of
from workers.broker.cluster import Cluster

pytestmark = pytest.mark.slow

#: What no process may need that only produces, consumes or checks.
HEAVY = ("torch", "ray", "nemo", "numpy", "av")

IMPORT_ALL = """
import importlib, pkgutil, sys
import schemas
for module in pkgutil.walk_packages(schemas.__path__, "schemas."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
import workers.cli
print(*sys.modules)
"""


def run(*command: str | Path, check: bool = True, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=check, timeout=250
    )


class Environment:
    """A fresh virtual environment with the project, built as a wheel, and some of its extras."""

    def __init__(self, folder: Path, extras: str) -> None:
        self.folder = folder
        source = folder / "source"
        for name in ("schemas", "serve_app", "workers"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, ignore=ignored)
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, source)
        uv = Path(sys.executable).with_name("uv")
        pins = folder / "pins.txt"
        locked = (ROOT / "requirements.lock").read_text().splitlines()
        pinned = [each.removesuffix(" \\") for each in locked if each[:1].isalnum()]
        pins.write_text("\n".join(pinned))
        run(uv, "venv", "--python", sys.executable, folder / "venv", cwd=folder)
        self.python = folder / "venv" / "bin" / "python"
        self.chorus = folder / "venv" / "bin" / "chorus"
        install: list[str | Path] = [
            uv,
            "pip",
            "install",
            "--python",
            self.python,
            "--constraint",
            pins,
        ]
        run(*install, f"{source}{extras}", cwd=folder)
        shutil.rmtree(source)  # what runs below is the wheel

    def modules(self) -> set[str]:
        """Everything that is loaded once the contracts and the command line are."""
        return set(run(self.python, "-c", IMPORT_ALL, cwd=self.folder).stdout.split())


def test_the_base_is_contracts_settings_and_the_command_line(tmp_path: Path) -> None:
    base = Environment(tmp_path, "")
    assert not base.modules() & {*HEAVY, "kafka"}
    assert "stream" in run(base.chorus, "--help", cwd=tmp_path).stdout
    assert "quick_start" in run(base.chorus, "schema", "settings", cwd=tmp_path).stdout
    for command, extra in (("topics", "stream"), ("serve", "serve"), ("broker", "broker")):
        (tmp_path / "chorus.yaml").write_text(
            "{models: {general: {pretrained: stt_en_fastconformer_ctc_large}}, "
            "routing: {default: general}, audio: {roots: [/]}}"
        )
        failed = run(base.chorus, command, check=False, cwd=tmp_path)
        assert failed.returncode == 1, failed.stderr
        assert f"error: `chorus {command}` needs the package " in failed.stderr
        assert f"pip install 'chorus-asr[{extra}]'" in failed.stderr
    lines = run(base.chorus, "doctor", "--json", cwd=tmp_path).stdout.splitlines()
    found = {each["name"]: each for each in map(json.loads, lines)}
    assert found["Python"]["state"] == "ok"
    assert "torch" in found["libraries"]["said"]
    assert found["memory"]["said"] == "not examined: psutil is not installed"
    assert found["Kafka"]["said"] == "not examined: kafka is not installed"
    assert {each["state"] for each in found.values()} == {"ok", "warning"}
    clips = "from workers import doctor; print(len([*__import__('pathlib').Path(doctor.__file__)"
    listed = run(base.python, "-c", f"{clips}.parent.glob('speech/*.flac')]))", cwd=tmp_path)
    assert listed.stdout.split() == ["4"]


@pytest.mark.kafka
def test_producer_worker_and_consumer_need_neither_torch_nor_ray(
    tmp_path: Path, kafka: Cluster, unique: Callable[[str], str]
) -> None:
    client = Environment(tmp_path, "[stream]")
    assert not client.modules() & set(HEAVY)
    names = ("manifests", "transcripts", "dead_letters", "metrics")
    settings: dict[str, Any] = {
        **msgspec.to_builtins(settings_of()),
        "kafka": {
            "bootstrap_servers": [kafka.bootstrap],
            "group": unique("group"),
            "topics": {name: unique(name.replace("_", "-")) for name in names},
        },
    }
    (tmp_path / "chorus.yaml").write_text(yaml.safe_dump(settings))
    (tmp_path / "two.jsonl").write_text(
        '{"id": "a", "audio_filepath": "a.wav"}\n{"id": "b", "audio_filepath": "b.wav"}\n'
    )
    run(client.chorus, "topics", cwd=tmp_path)
    sent = run(client.chorus, "produce", "two.jsonl", "--json", cwd=tmp_path)
    assert json.loads(sent.stdout)["sent"] == 2
    listed = run(client.chorus, "dead-letters", "list", cwd=tmp_path)
    assert "Traceback" not in listed.stderr
    with on_network(FakeRouter()) as url:
        settings["stream"] = {"backend": url}
        (tmp_path / "chorus.yaml").write_text(yaml.safe_dump(settings))
        with subprocess.Popen([client.chorus, "stream"], cwd=tmp_path) as worker:
            try:
                wanted = ["--from-beginning", "--limit", "2", "--timeout", "60"]
                tail = run(client.chorus, "tail", "--json", *wanted, cwd=tmp_path)
                worker.send_signal(signal.SIGINT)
                assert worker.wait(60) == 0
            finally:
                worker.kill()
    heard = [json.loads(line) for line in tail.stdout.splitlines()]
    assert {each["id"] for each in heard} == {"a", "b"}
    assert all(each["pred_text"] for each in heard)
