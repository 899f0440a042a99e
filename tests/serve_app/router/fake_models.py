"""Models that the test holds, and a transcriber that asks them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from schemas.failures import ErrorCode
from schemas.manifest import ManifestRecord
from schemas.requests import ClipRequest
from schemas.settings import (
    AudioSettings,
    Condition,
    ModelSettings,
    Routing,
    Rule,
    Settings,
)
from schemas.transcript import Transcript
from serve_app.audio import AudioError
from serve_app.audio.clip import SAMPLE_RATE, Clip, Recording
from serve_app.engines.base import Hypothesis, Rejection
from serve_app.model.protocol import ModelError, Outcome, Reply
from serve_app.router.results import Result
from serve_app.router.transcriber import Transcriber


def record(number: int, **keys: Any) -> ManifestRecord:
    return ManifestRecord(**{"id": f"r{number}", "audio_filepath": f"{number}.wav", **keys})


def settings(batch_seconds: float = 1000.0, threads: int = 4) -> Settings:
    def model(name: str) -> ModelSettings:
        return ModelSettings(path=f"/models/{name}.nemo", batch_seconds=batch_seconds)

    return Settings(
        models={name: model(name) for name in ("general", "medical")},
        routing=Routing(
            default="general",
            rules=[
                Rule(
                    name="domain",
                    model="medical",
                    all=[Condition(field="domain", equals="medical")],
                )
            ],
        ),
        audio=AudioSettings(roots=["/"], threads=threads),
    )


class FakeModel:
    """Says how many samples it heard.

    `gate` holds its answers, `error` replaces them; `listens` makes it count a clip's phrases.
    """

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.calls: list[int] = []
        self.error: ModelError | None = None
        self.replicas = 1
        self.listens = False
        self.requests: Sequence[ClipRequest] = ()

    async def transcribe(
        self,
        clips: Sequence[Clip],
        sample_rate: int,
        requests: Sequence[ClipRequest] = (),
    ) -> Reply:
        assert sample_rate == SAMPLE_RATE
        self.calls.append(len(clips))
        self.requests = requests
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        pairs = zip(clips, requests or [ClipRequest()] * len(clips), strict=True)
        return Reply([self._outcome(clip, each.phrases) for clip, each in pairs], sha256="abc")

    def _outcome(self, clip: Clip, phrases: tuple[str, ...]) -> Outcome:
        if clip[0] == 1.0:
            refused = Rejection(code=ErrorCode.MODEL_REJECTED, message="no")
            return Outcome(refused, queue_ms=1, model_ms=2)
        count = len(phrases) if self.listens and phrases else None
        heard = Hypothesis(text=f"{len(clip)} samples", phrases=count)
        return Outcome(heard, queue_ms=1, model_ms=2)


def load(rec: ManifestRecord) -> Recording:
    """`number.wav` has 100 + number samples; what else it does is in its `conditions`."""
    if rec.conditions == "bad":
        raise AudioError(ErrorCode.AUDIO_UNDECODABLE, f"{rec.audio_filepath}: not audio")
    if rec.conditions == "bug":
        raise ZeroDivisionError("a bug of the loader")
    if rec.conditions == "storage":
        raise OSError(5, "Input/output error")
    clip = np.zeros(100 + int(rec.id[1:]), np.float32)
    clip[0] = rec.conditions == "rejected"
    return Recording(clip)


def transcriber(
    load: Callable[[ManifestRecord], Recording] = load, **options: Any
) -> tuple[Transcriber, dict[str, FakeModel]]:
    models = {"general": FakeModel(), "medical": FakeModel()}
    limit = options.pop("max_audio_bytes", 1 << 30)
    return Transcriber(settings(**options), models, load, max_audio_bytes=limit), models


def texts(results: Sequence[Result]) -> list[str]:
    return [r.pred_text if isinstance(r, Transcript) else r.code.value for r in results]
