"""One version of a model that is loaded: its batcher, and the calls that it works on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from schemas.requests import ClipRequest
from schemas.settings import ModelSettings
from serve_app.audio.clip import Clip
from serve_app.audio.resample import resample
from serve_app.engines.base import Engine
from serve_app.engines.identifying import check_identifies
from serve_app.engines.load import load_engine
from serve_app.model.batcher import Batcher
from serve_app.model.meter import ModelMeter
from serve_app.model.protocol import ModelInfo, Reply
from serve_app.registry.source import Version


class Serving:
    """A loaded version; made by `load`.

    Args:
        batcher: that has been started.
        info: what it serves.
        version: that it is.
    """

    def __init__(self, batcher: Batcher, info: ModelInfo, version: Version) -> None:
        self._batcher = batcher
        self._calls = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.info = info
        self.version = version

    @classmethod
    async def load(
        cls, name: str, version: Version, meter: ModelMeter, *, identifies: bool = False
    ) -> Serving:
        """Load a version, and check that it transcribes.

        Args:
            name: of the model in the settings.
            version: that is loaded.
            meter: told of each batch.
            identifies: whether it must be able to identify languages, too.

        Raises:
            EngineError: it cannot be loaded, or does not work.
        """
        settings = version.settings
        batcher = Batcher(
            lambda: _load(settings, identifies=identifies),
            batch_seconds=settings.batch_seconds,
            interactive_share=settings.interactive_share,
            measure=meter.batch,
        )
        engine = await batcher.start()
        info = ModelInfo(
            name=name,
            sha256=engine.sha256,
            device=engine.device,
            sample_rate=engine.sample_rate,
            version=version.number,
        )
        return cls(batcher, info, version)

    async def transcribe(
        self, clips: Sequence[Clip], sample_rate: int, requests: Sequence[ClipRequest]
    ) -> Reply:
        """See `serve_app.model.replica.DomainModel.transcribe`."""
        self._calls += 1
        self._idle.clear()
        try:
            rate = self.info.sample_rate
            if sample_rate != rate:
                clips = await asyncio.to_thread(
                    lambda: [resample(clip, sample_rate, rate) for clip in clips]
                )
            outcomes = await self._batcher.transcribe(clips, requests)
        finally:
            self._calls -= 1
            if not self._calls:
                self._idle.set()
        return Reply(outcomes, self.info.sha256, self.info.version)

    async def drained(self) -> None:
        """Wait until no call is left. Calls that come meanwhile are waited for too."""
        await self._idle.wait()

    @property
    def waiting(self) -> int:
        """Number of clips that wait."""
        return self._batcher.waiting

    def check(self, limit_s: float) -> None:
        """See `Batcher.check`."""
        self._batcher.check(limit_s)

    def close(self) -> None:
        """Let go of the engine; see `Batcher.close`."""
        self._batcher.close()


def _load(settings: ModelSettings, *, identifies: bool) -> Engine:
    engine = load_engine(settings)
    if identifies:
        check_identifies(engine)
    warm_up = getattr(engine, "warm_up", None)
    if warm_up is not None:
        warm_up()
    return engine
