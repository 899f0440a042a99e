"""Decoders with one or two workers, and a helper that expects refusals."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from schemas.failures import ErrorCode
from serve_app.audio import AudioError
from serve_app.audio.sandbox import MediaDecoder
from tests.serve_app.audio.sandbox.workers import LIMITS, Refused
from tests.serve_app.audio.sounds import sweep, write


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def decoder() -> AsyncIterator[MediaDecoder]:
    """For files that harm no worker."""
    async with MediaDecoder(LIMITS, workers=2) as decoder:
        yield decoder


@pytest_asyncio.fixture(loop_scope="module")
async def alone() -> AsyncIterator[MediaDecoder]:
    """For what harms its only worker."""
    async with MediaDecoder(LIMITS, workers=1) as decoder:
        yield decoder


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return write(tmp_path / "good.wav", sweep(1))


@pytest.fixture
def refused(decoder: MediaDecoder) -> Refused:
    """Check that decoding a path fails with a code, and return the error."""

    async def check(
        code: ErrorCode, path: Path, by: MediaDecoder = decoder, name: str = "the file"
    ) -> AudioError:
        with pytest.raises(AudioError) as caught:
            await by.decode(path, name=name)
        assert caught.value.code is code, caught.value
        assert caught.value.message.startswith(f"{name} ")
        assert str(path.parent) not in caught.value.message
        return caught.value

    return check
