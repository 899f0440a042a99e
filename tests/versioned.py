"""An engine whose versions are told apart by what they write, for tests of changing them.

A version is a folder with the file `text`, which it answers every clip with. The file `fails` makes
it fail to load, `rejects` to raise over every clip, and `seconds` says how long loading takes.

Options (`ModelSettings.options`):
    gate: path of a file; while it exists, the engine waits in each batch.
    loads: path of a file to which it appends a line when it is loaded: process id, and when that
        began and ended, in seconds of the monotonic clock.
    delay_per_second: seconds that one second of audio takes.
    events: path of a file to which it appends a line per batch: process id, version's text, clips,
        and when it began and ended, in seconds of the monotonic clock.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

from schemas.model_card import ModelCard
from schemas.requests import ClipRequest
from schemas.settings import ModelSettings
from serve_app.audio.clip import Clip
from serve_app.engines.base import Hypothesis, Rejection
from serve_app.registry.local_store import LocalStore
from serve_app.registry.registry import Registry

ENGINE = "tests.versioned:VersionedEngine"


class VersionedEngine:
    """See the module's docstring."""

    sample_rate = 16_000
    device = "cpu"

    def __init__(self, settings: ModelSettings) -> None:
        if settings.path is None:
            raise RuntimeError("no path")
        folder = Path(settings.path)
        begin = time.monotonic()
        if (seconds := folder / "seconds").exists():
            time.sleep(float(seconds.read_text()))
        if "loads" in settings.options:
            with open(settings.options["loads"], "a", encoding="utf-8") as file:
                file.write(f"{os.getpid()} {begin} {time.monotonic()}\n")
        if (folder / "fails").exists():
            raise RuntimeError("told to fail")
        self._rejects = (folder / "rejects").exists()
        self._text = (folder / "text").read_text()
        self.sha256 = hashlib.sha256(self._text.encode()).hexdigest()
        self._gate = settings.options.get("gate")
        self._delay: float = settings.options.get("delay_per_second", 0.0)
        self._events: str | None = settings.options.get("events")

    def transcribe(
        self, clips: Sequence[Clip], requests: Sequence[ClipRequest]
    ) -> list[Hypothesis | Rejection]:
        if self._rejects:
            raise RuntimeError("told to raise")
        begin = time.monotonic()
        while self._gate is not None and Path(self._gate).exists():
            time.sleep(0.01)
        time.sleep(self._delay * sum(map(len, clips)) / self.sample_rate)
        if self._events is not None:
            times = f"{begin} {time.monotonic()}"
            with open(self._events, "a", encoding="utf-8") as file:
                file.write(f"{os.getpid()} {self._text} {len(clips)} {times}\n")
        return [Hypothesis(text=self._text, confidence=0.5) for _ in clips]


def register(folder: Path, name: str, text: str, **files: str) -> str:
    """Register a version that writes `text`; `files` are others that it has.

    Returns:
        Its number.
    """
    sources = {}
    work = folder.parent / "work"
    work.mkdir(exist_ok=True)
    for file, content in {"text": text, **files}.items():
        sources[file] = work / file
        sources[file].write_text(content)
    card = ModelCard(
        name=name, version="", domain="d", made="2026-01-01T00:00:00+00:00", engine=ENGINE
    )
    return Registry(LocalStore(folder)).register(name, sources, card).version


def promote(folder: Path, name: str, version: str) -> None:
    """Let the alias `production` name a version."""
    Registry(LocalStore(folder)).promote(name, version, "production")
