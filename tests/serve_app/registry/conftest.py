from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.model_card import ModelCard
from serve_app.registry.registry import Registry
from serve_app.registry.store import Store

Register = Callable[..., ModelCard]


@pytest.fixture
def registry(store: Store) -> Registry:
    return Registry(store)


@pytest.fixture
def register(registry: Registry, tmp_path: Path) -> Register:
    """Registers a model of one file; each time with another content unless it is given."""
    numbers = itertools.count()

    def make(
        name: str = "medical",
        content: bytes | None = None,
        domain: str = "d",
        made: str | None = None,
    ) -> ModelCard:
        number = next(numbers)
        file = tmp_path / f"{number}.nemo"
        file.write_bytes(b"%d" % number if content is None else content)
        made = made or f"2026-01-01T00:00:{number:02}+00:00"
        card = ModelCard(name="", version="", domain=domain, made=made)
        return registry.register(name, {"model.nemo": file}, card)

    return make
