"""The core of the Router, without Ray: turns lists of records into lists of results.

Audio comes from a function, and models are anything that implements `Model`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from schemas.calibration import Calibration
from schemas.manifest import ManifestRecord
from schemas.requests import DEFAULT_OPTIONS, CallOptions
from schemas.settings import Settings
from serve_app.audio.clip import SAMPLE_RATE, Recording
from serve_app.audio.memory import AudioMemory
from serve_app.audio.reading import Begin, Load, load_all
from serve_app.model.protocol import Model, ModelError
from serve_app.router.candidates import Candidates
from serve_app.router.job import TranscriptionJob
from serve_app.router.meter import RouterMeter
from serve_app.router.results import Result, ResultMaker
from serve_app.router.state import RouterState
from serve_app.routing.plans import Planner
from serve_app.routing.rules import Selector

#: Decoded audio that one Router holds before it stops reading more (an hour is 230 MB).
MAX_AUDIO_BYTES = 256 << 20

#: The clip of a probe, which every model must answer: half a second of silence.
PROBE_CLIP = np.zeros(SAMPLE_RATE // 2, np.float32)


class Transcriber:
    """Transcribes several lists concurrently: while models work on one, the next one is read.

    Args:
        settings: routing, audio and the models' settings.
        models: the models, by their names in the settings.
        load: reads a record's audio; called in `settings.audio.threads` threads.
        begin: begins to fetch a record's audio and returns what reads it, in place of `load`.
        calibration: turns the models' confidences into probabilities.
        max_audio_bytes: decoded audio held before reading pauses.
        meter: measures the lists.

    Attributes:
        state: the state that all lists share.
    """

    def __init__(
        self,
        settings: Settings,
        models: Mapping[str, Model],
        load: Load,
        *,
        begin: Begin | None = None,
        calibration: Calibration | None = None,
        max_audio_bytes: int = MAX_AUDIO_BYTES,
        meter: RouterMeter | None = None,
    ) -> None:
        self._meter = meter or RouterMeter()
        selector = Selector(settings.routing)
        results = ResultMaker(settings)
        self.state = RouterState(
            settings=settings,
            models=models,
            selector=selector,
            planner=Planner(settings, calibration),
            results=results,
            load_all=partial(
                load_all,
                begin or (lambda record: partial(load, record)),
                speech=selector.needs_speech,
            ),
            memory=AudioMemory(max_audio_bytes),
            threads=ThreadPoolExecutor(settings.audio.threads, thread_name_prefix="audio"),
            readers=asyncio.Semaphore(settings.audio.threads),
            calls=dict.fromkeys(models, 0),
            candidates=Candidates(results.written),
        )

    @property
    def memory(self) -> AudioMemory:
        """The count of the decoded audio that is held at the moment."""
        return self.state.memory

    @property
    def candidates(self) -> Candidates:
        """The candidates that are compared with the models."""
        return self.state.candidates

    async def transcribe(
        self,
        records: Sequence[ManifestRecord],
        *,
        clips: Sequence[Recording] | None = None,
        options: CallOptions = DEFAULT_OPTIONS,
    ) -> list[Result]:
        """One result per record, in order; a record that fails has a `RecordError`.

        Cancelling it cancels its calls of the models and frees its audio.

        Args:
            records: the records.
            clips: the records' audio at `SAMPLE_RATE`, if no files are to be read.
            options: of the call.
        """
        results: Sequence[Result] = ()
        self._meter.begin(self.memory.held_bytes)
        try:
            results = await TranscriptionJob(self.state, records, clips, options).run()
        finally:
            self._meter.end(results, self.memory.held_bytes)
        if options.group is not None:
            self.state.demand.done(options.group, len(records))
        return results

    async def probe(self, models: Sequence[str], timeout_s: float) -> dict[str, bool]:
        """Whether each of some models answers `PROBE_CLIP` within `timeout_s` seconds."""

        async def answers(model: Model) -> bool:
            try:
                async with asyncio.timeout(timeout_s):
                    await model.transcribe([PROBE_CLIP], SAMPLE_RATE)
            except (ModelError, TimeoutError):
                return False
            return True

        alive = await asyncio.gather(*(answers(self.state.models[name]) for name in models))
        return dict(zip(models, alive, strict=True))
