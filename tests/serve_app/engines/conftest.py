"""NeMo models for these tests, each built once a session."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from schemas.settings import ModelSettings

if TYPE_CHECKING:
    from serve_app.engines.nemo.engine import NemoEngine

EngineOf = Callable[..., "NemoEngine"]


@pytest.fixture(scope="session")
def nemo() -> None:
    """NeMo, imported as the engine imports it."""
    import torch

    from serve_app.engines.nemo.imports import import_nemo

    import_nemo()
    torch.set_num_threads(1)  # in models this small, threads only wait for each other


@pytest.fixture(scope="session")
def model_file(nemo: None, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Path of the model of a kind: one of `tiny_models`, or "tones"."""
    from tests.serve_app.engines.nemo import tiny_models, tones

    folder = tmp_path_factory.mktemp("models")
    tokenizer = tiny_models.train_tokenizer(folder / "tokenizer")

    @cache
    def make(kind: str) -> Path:
        if kind == "tones":
            return tones.MODEL
        return tiny_models.build(kind, tokenizer, folder / f"{kind}.nemo")

    return make


@pytest.fixture
def engine_of(model_file: Callable[[str], Path]) -> EngineOf:
    """A new engine with the model of a kind; further arguments are model settings."""
    from serve_app.engines.nemo.engine import NemoEngine

    def load(kind: str, **settings: Any) -> NemoEngine:
        return NemoEngine(ModelSettings(path=str(model_file(kind)), threads=1, **settings))

    return load
