from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any, cast

import pytest

from schemas.settings import ModelSettings, RegistrySettings
from serve_app.model.replica import DomainModel
from tests.serve_app.model.following import Make
from tests.versioned import ENGINE, promote, register


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A registry with two versions of `m`, the first of them in production."""
    folder = tmp_path / "registry"
    register(folder, "m", "one")
    register(folder, "m", "two")
    promote(folder, "m", "1")
    return folder


@pytest.fixture
async def make(folder: Path, tmp_path: Path) -> AsyncIterator[Make]:
    made: list[DomainModel] = []

    async def start(
        model: str = "m@production", *, cache: bool = False, **more: Any
    ) -> DomainModel:
        settings = ModelSettings(**{"engine": ENGINE, "model": model, **more})
        replica = DomainModel.__new__(DomainModel)
        copies = str(tmp_path / "cache") if cache else None
        registry = RegistrySettings(url=str(folder), poll_s=0.02, cache=copies)
        starting = replica.__init__("m", settings, 60.0, registry)  # type: ignore[misc]
        await cast(Awaitable[None], starting)
        made.append(replica)
        return replica

    yield start
    for each in made:
        each.__del__()
