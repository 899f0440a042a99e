"""The DomainModel deployment: one replica of one model, with its engine, queue and batcher.

A plain class without Ray; `serve_app.app` makes it a deployment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from schemas.settings import ModelSettings
from serve_app.audio.resample import resample
from serve_app.batcher import Batcher, Outcome
from serve_app.engines.base import Clip, Engine, Phrases
from serve_app.engines.load import load_engine


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a replica serves.

    Attributes:
        name: of the model in the settings.
        sha256: digest of the model file; empty for an engine without one.
        device: "cpu" or "cuda".
        sample_rate: hertz that its engine works at; other audio is resampled for it.
    """

    name: str
    sha256: str
    device: str
    sample_rate: int


class Reply(msgspec.Struct, frozen=True):
    """A model's answer to a group of clips: one outcome per clip, in order, and who made them."""

    outcomes: list[Outcome]
    sha256: str


class DomainModel:
    """Transcribes clips. Its calls may overlap: their clips share batches.

    Args:
        name: of the model in the settings.
        settings: of this model.
        health_timeout_s: without a finished batch for so long, while there is work, the replica
            is unhealthy.
    """

    # Serve awaits it, so the replica answers Serve while the engine loads.
    async def __init__(  # type: ignore[misc]
        self, name: str, settings: ModelSettings, health_timeout_s: float
    ) -> None:
        self._name = name
        self._health_timeout_s = health_timeout_s
        self._batcher = Batcher(
            lambda: _load(settings),
            batch_seconds=settings.batch_seconds,
            interactive_share=settings.interactive_share,
        )
        engine = await self._batcher.start()
        self._info = ModelInfo(
            name=name,
            sha256=engine.sha256,
            device=engine.device,
            sample_rate=engine.sample_rate,
        )

    async def transcribe(
        self,
        clips: Sequence[Clip],
        sample_rate: int,
        words: bool = False,
        phrases: Sequence[Phrases] = (),
        interactive: bool = False,
    ) -> Reply:
        """One outcome per clip, in order.

        Args:
            clips: mono float32 audio, `sample_rate` hertz each; may be read-only.
            words: whether hypotheses carry words with times.
            phrases: of each clip, to listen for; empty where no clip has any. Hypotheses say how
                many were.
            interactive: whether somebody waits: these clips go ahead of the bulk.

        Raises:
            serve_app.batcher.QueueFullError: too much waits already.
            serve_app.batcher.EngineBrokenError: the engine broke; this replica will be replaced.
        """
        rate = self._info.sample_rate
        if sample_rate != rate:
            clips = await asyncio.to_thread(
                lambda: [resample(clip, sample_rate, rate) for clip in clips]
            )
        outcomes = await self._batcher.transcribe(
            clips, words=words, phrases=phrases, interactive=interactive
        )
        return Reply(outcomes, self._info.sha256)

    async def info(self) -> ModelInfo:
        return self._info

    def check_health(self) -> None:
        """Called by Serve every few seconds; raising three times in a row replaces the replica.

        Raises:
            serve_app.batcher.EngineBrokenError: the engine's thread has ended, the engine failed
                on the built-in clip, or there is work and no batch ends.
        """
        self._batcher.check(self._health_timeout_s)

    def __del__(self) -> None:
        """Called by Serve when the replica's calls are done."""
        self._batcher.close()


def _load(settings: ModelSettings) -> Engine:
    engine = load_engine(settings)
    warm_up = getattr(engine, "warm_up", None)
    if warm_up is not None:
        warm_up()
    return engine
