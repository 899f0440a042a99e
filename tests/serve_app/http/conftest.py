"""The API in this process, over a Router that says what it is asked; real decoding."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
import soundfile
from litestar import Litestar

from schemas.failures import ErrorCode, RecordError
from schemas.how import AS_ROUTED, How
from schemas.manifest import ManifestRecord
from schemas.settings import Settings
from schemas.transcript import Timings, Transcript, Word
from serve_app.audio.untrusted import MediaDecoder
from serve_app.engines.base import Clip
from serve_app.http.api import make_api
from serve_app.results import Result
from serve_app.router_client import Probe
from tests.standin import text_of

RATE = 16_000


class FakeRouter:
    """Hears three words in each clip, evenly over it; see `tests.standin.text_of`.

    Attributes:
        calls: what it was asked: ids and how.
        errors: what it answers instead, one after the other.
        gate: closed, it holds all answers.
        up: what a probe finds.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[list[ManifestRecord], How]] = []
        self.clips: list[Clip] = []
        self.errors: list[ErrorCode] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.up = Probe(router=True)
        self.cancelled = 0

    async def transcribe(
        self,
        records: Sequence[ManifestRecord],
        how: How = AS_ROUTED,
        clips: Sequence[Clip] | None = None,
    ) -> list[Result]:
        self.calls.append((list(records), how))
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.errors:
            code = self.errors.pop(0)
            return [RecordError(id=each.id, code=code, message="told to fail") for each in records]
        if clips is None:
            clips = [np.zeros(RATE, np.float32)] * len(records)
        self.clips += clips
        return [self._hear(record, how, clip) for record, clip in zip(records, clips, strict=True)]

    def _hear(self, record: ManifestRecord, how: How, clip: Clip) -> Transcript:
        text = text_of(clip)
        seconds = len(clip) / RATE
        third = seconds / 3
        words = [
            Word(word, round(n * third, 3), round((n + 1) * third, 3), 0.9)
            for n, word in enumerate(text.split())
        ]
        return Transcript(
            id=record.id,
            audio_filepath=record.audio_filepath,
            duration=seconds,
            pred_text=text,
            selected_model=how.target or "general",
            model_path="general.nemo",
            rule="requested" if how.target else "default",
            confidence=0.9,
            words=words if how.words else None,
            phrases=record.phrases,
            phrases_used={"general": 0} if record.phrases else None,
            timings=Timings(),
        )

    async def probe(self, timeout_s: float = 5.0) -> Probe:
        return self.up


def settings_of(**http: Any) -> Settings:
    stand_in = {"engine": "tests.standin:StandInEngine"}
    return msgspec.convert(
        {
            "models": {"general": stand_in, "medical": stand_in},
            "plans": {"vote": {"ensemble": ["general", "medical"]}},
            "routing": {"default": "general"},
            "audio": {"roots": ["/"], "max_seconds": 3600},
            "http": http,
        },
        Settings,
    )


@pytest.fixture
def router() -> FakeRouter:
    return FakeRouter()


Make = Callable[..., Litestar]


@pytest.fixture
async def make(router: FakeRouter) -> AsyncIterator[Make]:
    """`make(**http)`: the API with these settings."""
    decoders: list[MediaDecoder] = []

    def build(**http: Any) -> Litestar:
        settings = settings_of(**http)
        decoders.append(MediaDecoder(settings.audio, workers=1))
        return make_api(settings, router, decoders[-1])

    yield build
    for each in decoders:
        await each.close()


@pytest.fixture
async def client(make: Make) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(make()) as found:
        yield found


def client_of(api: Litestar, **headers: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(api, raise_app_exceptions=False),
        base_url="http://test",
        headers=headers,
        timeout=60,
    )


@pytest.fixture(scope="session")
def wav(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Three seconds."""
    return write(tmp_path_factory.mktemp("wav") / "a.wav", 3.0).read_bytes()


def write(path: Path, seconds: float) -> Path:
    rng = np.random.default_rng(0)
    soundfile.write(path, 0.1 * rng.standard_normal(int(seconds * RATE)), RATE)
    return path
