"""`make object-store`, shorter: a simpler store, and a Router in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytest

from schemas.manifest import ManifestRecord
from schemas.requests import DEFAULT_OPTIONS, CallOptions
from schemas.settings import Settings
from serve_app.audio import AudioLoader
from serve_app.audio.clip import Recording
from serve_app.audio.reading import RecordReader
from serve_app.router.protocol import Probe
from serve_app.router.results import Result
from serve_app.router.transcriber import Transcriber
from tests.scenarios.object_store import BUCKET, run
from tests.serve_app.audio.remote.server import StoreServer
from tests.serve_app.router.fake_models import FakeModel


@contextmanager
def simple_store(objects: Mapping[str, bytes]) -> Iterator[str]:
    with StoreServer().running() as server:
        server.objects = {f"/{BUCKET}/{name}": data for name, data in objects.items()}
        yield f"http://127.0.0.1:{server.port}"


class InProcess:
    """A Router whose models only count samples."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._reader = RecordReader(AudioLoader(settings.audio))
        self._transcriber: tuple[asyncio.AbstractEventLoop, Transcriber] | None = None

    async def transcribe(
        self,
        records: Sequence[ManifestRecord],
        options: CallOptions = DEFAULT_OPTIONS,
        clips: Sequence[Recording] | None = None,
    ) -> list[Result]:
        loop = asyncio.get_running_loop()  # each job has one, and a transcriber belongs to one
        if self._transcriber is None or self._transcriber[0] is not loop:
            models = {name: FakeModel() for name in self._settings.models}
            reader = self._reader
            made = Transcriber(self._settings, models, reader.load, begin=reader.begin)
            self._transcriber = loop, made
        return await self._transcriber[1].transcribe(records, clips=clips, options=options)

    async def probe(self, timeout_s: float = 5.0) -> Probe:
        return Probe(router=True)


@contextmanager
def in_process(settings: Settings) -> Iterator[InProcess]:
    yield InProcess(settings)


@pytest.mark.slow
def test_nothing_is_lost_in_a_store_with_faults() -> None:
    figures = run(100, "stand-in", stores=simple_store, routers=in_process)
    assert figures["lost"] == figures["failed"] == figures["let_through"] == 0
    assert all(figures["refused"].values())
