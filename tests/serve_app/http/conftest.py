"""The API in this process, over a Router that says what it is asked; real decoding."""

from __future__ import annotations

import asyncio
import io
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, cast

import httpx
import hypothesis
import msgspec
import numpy as np
import pytest
import pytest_asyncio
import soundfile
import uvicorn
from litestar.types import ASGIApp
from starlette.types import ASGIApp as StarletteApp

from schemas.failures import ErrorCode, RecordError
from schemas.manifest import ManifestRecord
from schemas.requests import DEFAULT_OPTIONS, CallOptions
from schemas.settings import Settings
from schemas.transcript import Timings, Transcript, Word
from serve_app.audio.clip import Clip, Recording
from serve_app.audio.sandbox import MediaDecoder
from serve_app.http.api import make_api
from serve_app.router.protocol import Probe
from serve_app.router.results import Result
from tests import waiting
from tests.standin import text_of

RATE = 16_000
#: For Hypothesis: a busy machine is no fault.
UNHURRIED = hypothesis.settings(deadline=None)
TRANSCRIPTIONS = "/v1/audio/transcriptions"

Make = Callable[..., ASGIApp]


class FakeRouter:
    """Hears three words in each clip, evenly over it; see `tests.standin.text_of`.

    Attributes:
        calls: what it was asked: records and options.
        clips: that it has heard.
        errors: what it answers instead, one call after the other.
        always: what it answers instead, to every call.
        hear: the words in a clip, with times from its start.
        write: what its text rules make of a text.
        version: of the model, for each clip.
        sha256: of the model.
        timed: whether the model knows the times of words.
        gate: closed, it holds answers.
        holds: which calls the gate holds, by their number.
        up: what a probe finds.
        cancelled: calls that were given up.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[list[ManifestRecord], CallOptions]] = []
        self.clips: list[Clip] = []
        self.errors: list[ErrorCode] = []
        self.always: ErrorCode | None = None
        self.hear: Callable[[Clip], list[Word]] = three_words
        self.write: Callable[[str], str] = lambda text: text
        self.version: Callable[[], str | None] = lambda: "12"
        self.sha256 = "abc"
        self.arm: str | None = None
        self.timed = True
        self.gate = asyncio.Event()
        self.gate.set()
        self.holds: Callable[[int], bool] = lambda number: True
        self.up = Probe(router=True)
        self.cancelled = 0

    async def transcribe(
        self,
        records: Sequence[ManifestRecord],
        options: CallOptions = DEFAULT_OPTIONS,
        clips: Sequence[Recording] | None = None,
    ) -> list[Result]:
        self.calls.append((list(records), options))
        try:
            if self.holds(len(self.calls) - 1):
                await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        code = self.errors.pop(0) if self.errors else self.always
        if code is not None:
            return [RecordError(id=each.id, code=code, message="told to fail") for each in records]
        if clips is None:
            clips = [Recording(np.zeros(RATE, np.float32))] * len(records)
        self.clips += [each.clip for each in clips]
        pairs = zip(records, clips, strict=True)
        return [
            msgspec.structs.replace(
                self._transcript(record, options, each.clip),
                audio_measures={
                    name.removeprefix("audio."): found for name, found in each.measures.items()
                },
            )
            for record, each in pairs
        ]

    def _transcript(self, record: ManifestRecord, options: CallOptions, clip: Clip) -> Transcript:
        words = self.hear(clip)
        heard = " ".join(each.word for each in words)
        written = self.write(heard)
        return Transcript(
            id=record.id,
            audio_filepath=record.audio_filepath,
            duration=len(clip) / RATE,
            pred_text=written,
            heard_text=heard if heard != written else None,
            selected_model=options.target or "general",
            model_path="general.nemo",
            model_sha256=self.sha256,
            model_version=self.version(),
            arm=self.arm,
            rule="requested" if options.target else "default",
            confidence=0.9,
            words=words if options.words and self.timed else None,
            phrases=record.phrases,
            phrases_used={"general": 0} if record.phrases else None,
            timings=Timings(model_ms=1.0),
            extra=record.extra,
        )

    async def probe(self, timeout_s: float = 5.0) -> Probe:
        return self.up


def three_words(clip: Clip) -> list[Word]:
    third = len(clip) / RATE / 3
    return [
        Word(word, round(n * third, 3), round((n + 1) * third, 3), 0.9)
        for n, word in enumerate(text_of(clip).split())
    ]


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


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def decoder() -> AsyncIterator[MediaDecoder]:
    async with MediaDecoder(settings_of().audio, workers=1) as found:
        yield found


@pytest.fixture
def make(router: FakeRouter, decoder: MediaDecoder) -> Make:
    """`make(**http)`: the API with these settings."""
    return lambda **http: make_api(settings_of(**http), router, decoder)


@pytest.fixture
def client(make: Make) -> httpx.AsyncClient:
    return client_of(make())


def client_of(api: ASGIApp, **headers: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(cast(StarletteApp, api), raise_app_exceptions=False),
        base_url="http://test",
        headers=headers,
        timeout=60,
    )


@contextmanager
def on_network(router: FakeRouter, **http: Any) -> Iterator[str]:
    """The address of the API behind a real server, in a thread of its own."""
    settings = settings_of(**http)
    api = make_api(settings, router, MediaDecoder(settings.audio, workers=1))
    server = uvicorn.Server(uvicorn.Config(api, port=0, log_level="critical", ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port_of(server, thread)}"
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def port_of(server: uvicorn.Server, thread: threading.Thread) -> int:
    """The port of a server that starts in `thread`."""
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        thread.join(0.01)
    port: int = server.servers[0].sockets[0].getsockname()[1]
    return port


@pytest.fixture(scope="session")
def wav() -> bytes:
    """Three seconds."""
    return encoded(noise(3.0))


def noise(seconds: float) -> Clip:
    rng = np.random.default_rng(0)
    return (0.1 * rng.standard_normal(int(seconds * RATE))).astype(np.float32)


def encoded(clip: Clip, kind: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, clip, RATE, format=kind)
    return file.getvalue()


async def post(
    client: httpx.AsyncClient, audio: bytes, files: Any = None, **fields: Any
) -> httpx.Response:
    """Ask `auto` for a transcript of `audio`."""
    upload = {"file": ("a.wav", audio)} if files is None else files
    return await client.post(TRANSCRIPTIONS, data={"model": "auto", **fields}, files=upload)


def unnamed_files() -> set[str]:
    """Open files of this process that have no name, as uploads have none: number and inode."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # that of the listing itself; and other threads go on
            if "(deleted)" in os.readlink(f"/proc/self/fd/{number}"):
                found.add(f"{number} {os.stat(int(number)).st_ino}")
    return found


until = partial(waiting.until, timeout_s=20)
