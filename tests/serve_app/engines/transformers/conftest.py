"""Tiny models of Transformers, each built once a session, and engines that hold them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from schemas.settings import ModelSettings

if TYPE_CHECKING:
    from serve_app.engines.transformers.engine import TransformersEngine

FolderOf = Callable[[str], Path]
EngineOf = Callable[..., "TransformersEngine"]


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> FolderOf:
    """The folder of the model of a kind; not to be changed."""
    from tests.serve_app.engines.transformers import tiny_models

    parent = tmp_path_factory.mktemp("transformers")

    @cache
    def make(kind: str) -> Path:
        folder = parent / kind
        folder.mkdir()
        if kind == "group":
            return tiny_models.wav2vec2(folder, norm="group")
        if kind == "sharded":
            return tiny_models.wav2vec2(folder, shard="20KB")
        if kind == "english":
            return tiny_models.whisper(folder, multilingual=False)
        return {
            "whisper": tiny_models.whisper,
            "wav2vec2": tiny_models.wav2vec2,
            "parakeet": tiny_models.parakeet,
            "tdt": tiny_models.tdt,
        }[kind](folder)

    return make


@pytest.fixture
def copy_of(folder_of: FolderOf, tmp_path: Path) -> FolderOf:
    """A copy of that folder, to be changed."""

    def copy(kind: str) -> Path:
        return Path(shutil.copytree(folder_of(kind), tmp_path / kind))

    return copy


@pytest.fixture
def engine_of(folder_of: FolderOf) -> EngineOf:
    """A new engine with the model of a kind; further arguments are model settings."""
    from serve_app.engines.transformers.engine import TransformersEngine

    def load(kind: str, **settings: Any) -> TransformersEngine:
        path = str(folder_of(kind))
        return TransformersEngine(
            ModelSettings(engine="transformers", path=path, threads=1, **settings)
        )

    return load
