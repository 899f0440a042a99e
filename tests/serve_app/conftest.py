"""One real Serve application for all tests of this package, on stand-in engines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import soundfile

from schemas.manifest import ManifestRecord
from schemas.settings import Settings
from serve_app.audio.clip import Clip
from serve_app.registry.local_store import LocalStore
from serve_app.registry.object_store import ObjectStore
from serve_app.registry.store import Store
from workers.broker.ports import free_ports

RATE = 16_000


def tone(seconds: float = 0.5, number: int = 0) -> Clip:
    """A clip; each `number` has another pitch, so another text."""
    time = np.arange(int(seconds * RATE)) / RATE
    return (0.1 * np.sin(2 * np.pi * (200 + 10 * number) * time)).astype(np.float32)


def write(path: Path, clip: Clip) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, clip, RATE, subtype="PCM_16")
    return path


def record(path: Path, **keys: Any) -> ManifestRecord:
    return ManifestRecord(**{"id": path.stem, "audio_filepath": str(path), **keys})


def stand_in(**options: Any) -> dict[str, Any]:
    """Settings of a model on the stand-in engine; it reserves no core."""
    return {"engine": "tests.standin:StandInEngine", "num_cpus": 0, "options": options}


def rule(model: str) -> dict[str, Any]:
    return {"name": model, "model": model, "all": [{"field": "domain", "equals": model}]}


@pytest.fixture(params=["local", "object"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of a registry, of each kind."""
    if request.param == "local":
        return LocalStore(tmp_path / "registry")
    return ObjectStore("memory:///")


@pytest.fixture(scope="session")
def audio_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the application reads audio from."""
    return tmp_path_factory.mktemp("audio")


@pytest.fixture(scope="session")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """While this file exists, the model "fragile" waits before each batch."""
    return tmp_path_factory.mktemp("gate") / "closed"


@pytest.fixture(scope="session")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the model "fragile" notes the start and end of each batch."""
    return tmp_path_factory.mktemp("events") / "fragile"


@pytest.fixture(scope="session")
def settings(audio_root: Path, gate: Path, events: Path) -> Settings:
    """Models and plans, each chosen by `domain`.

    The models are "general" (the default), "medical" and "fragile"; the plans are "together", all
    three, and "careful", "fragile" with "general" for a fallback.
    """
    return msgspec.convert(
        {
            "models": {
                "general": stand_in(model="general"),
                "medical": stand_in(model="medical"),
                "fragile": stand_in(model="fragile", gate=str(gate), events=str(events)),
            },
            "routing": {
                "default": "general",
                "rules": [
                    rule("medical"),
                    rule("fragile"),
                    {**rule("together"), "model": None, "plan": "together"},
                    {**rule("careful"), "model": None, "plan": "careful"},
                ],
                "timeout_s": 60.0,
            },
            "plans": {
                "together": {
                    "ensemble": ["general", "medical", "fragile"],
                    "combine": {"method": "weighted"},
                    "patience_s": 2.0,
                },
                "careful": {"model": "fragile", "fallback": ["general"], "fallback_after_s": 1.0},
            },
            "audio": {"roots": [str(audio_root)]},
            "http": {"port": free_ports(1)[0], "num_cpus": 0, "max_upload_bytes": 1 << 20},
            "serve": {"app": "tests", "router_num_cpus": 0, "health_timeout_s": 5.0},
        },
        Settings,
    )


@pytest.fixture(scope="package")
def application(settings: Settings) -> Iterator[Any]:
    """The application, started; a test that breaks a part of it waits until it is whole again.

    It ends with the last test of this package: a process has one Ray cluster at a time, and other
    packages start theirs.
    """
    from serve_app.cluster.application import start, stop

    running = start(settings, http=True, timeout_s=250)
    yield running
    stop(running)


@pytest.fixture
def make_record(audio_root: Path, tmp_path: Path) -> Callable[..., ManifestRecord]:
    """`make_record("a", clip, domain="medical")` writes a clip and names it in a record."""

    def make(name: str, clip: Clip | None = None, **keys: Any) -> ManifestRecord:
        path = audio_root / tmp_path.name / f"{name}.wav"
        return record(write(path, tone() if clip is None else clip), **keys)

    return make
