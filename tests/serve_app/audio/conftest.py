"""A loader with one root and a helper that expects refusals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.failures import ErrorCode
from schemas.settings import AudioSettings
from serve_app.audio import AudioError, AudioLoader

Load = Callable[..., object]
Refused = Callable[..., AudioError]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture
def loader(root: Path) -> AudioLoader:
    return AudioLoader(AudioSettings(roots=[str(root)], max_seconds=60))


@pytest.fixture
def refused(loader: AudioLoader) -> Refused:
    """`refused(code, path, ...)`: loading `path` fails with `code`; returns the error."""

    def check(
        code: ErrorCode, path: object, by: AudioLoader = loader, **segment: Any
    ) -> AudioError:
        with pytest.raises(AudioError) as caught:
            by.load(str(path), **segment)
        assert caught.value.code is code, caught.value
        assert str(caught.value).startswith(f"{path}: ")
        return caught.value

    return check
