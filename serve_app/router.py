"""The Router deployment: a list of records in, one result per record out, in order.

A plain class; `serve_app.app` makes it a deployment. What it does with a list is
`serve_app.transcriber`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schemas.how import AS_ROUTED, How
from schemas.manifest import ManifestRecord
from schemas.settings import Settings
from serve_app.audio import AudioLoader
from serve_app.calibration import read_calibration
from serve_app.domain_model import ModelInfo
from serve_app.engines.base import Clip
from serve_app.model_client import ModelClient
from serve_app.reading import SAMPLE_RATE
from serve_app.results import Result
from serve_app.transcriber import Transcriber


class Router:
    """Wires audio and models to a `Transcriber`.

    Args:
        settings: the whole file.
        models: Serve handles of the DomainModel deployments, by the models' names.
    """

    def __init__(self, settings: Settings, models: Mapping[str, Any]) -> None:
        timeout_s = settings.routing.timeout_s
        self._models = {
            name: ModelClient(name, handle, timeout_s) for name, handle in models.items()
        }
        self._loader = AudioLoader(settings.audio)
        path = settings.routing.calibration
        self._transcriber = Transcriber(
            settings,
            self._models,
            self._load,
            calibration=read_calibration(Path(path)) if path else None,
        )

    async def transcribe(
        self,
        records: list[ManifestRecord],
        how: How = AS_ROUTED,
        clips: list[Clip] | None = None,
    ) -> list[Result]:
        """One `Transcript` or `RecordError` per record, in order. Does not raise for a record.

        Args:
            clips: the records' audio, mono float32 at `SAMPLE_RATE`, where no file is to be read.
        """
        return await self._transcriber.transcribe(records, clips=clips, how=how)

    async def probe(self, timeout_s: float) -> dict[str, bool]:
        """Whether each model answers the built-in clip within `timeout_s` seconds."""
        return await self._transcriber.probe(timeout_s)

    async def info(self) -> dict[str, ModelInfo]:
        """What each model serves. Raises `ModelError` for a model that does not answer."""
        return {name: await model.info() for name, model in self._models.items()}

    def _load(self, record: ManifestRecord) -> Clip:
        return self._loader.load(
            record.audio_filepath,
            offset=record.offset,
            duration=record.duration,
            sample_rate=SAMPLE_RATE,
        )
