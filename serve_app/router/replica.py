"""The replica class of the Router deployment.

`serve_app.cluster.deployments` makes it a deployment. The work is done by
`serve_app.router.transcriber`.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from schemas.failures import ErrorCode, RecordError
from schemas.manifest import ManifestRecord
from schemas.records_call import RecordsAnswer, RecordsCall, decode, encode
from schemas.requests import Backlog, CallOptions
from schemas.settings import Settings, settings_digest
from serve_app.audio import AudioLoader
from serve_app.audio.clip import Recording
from serve_app.audio.reading import RecordReader
from serve_app.model.application import model_apps
from serve_app.model.callers import Callers
from serve_app.model.client import ModelClient
from serve_app.model.missing import MissingModels
from serve_app.model.protocol import ModelError, ModelInfo
from serve_app.router.meter import RouterMeter
from serve_app.router.protocol import Identity
from serve_app.router.results import Result
from serve_app.router.rollout_watch import RolloutWatch
from serve_app.router.transcriber import Transcriber
from serve_app.routing.calibration import read_calibration
from serve_app.scaling.demand_notes import put_demand
from serve_app.system.memory import return_large_blocks
from serve_app.system.ray_adapter import ended, handle_of, use_replica_log
from serve_app.telemetry.replica import replica_instruments, trace_replica

logger = logging.getLogger(__name__)

#: Longest wait for what a model says of itself, in seconds.
_INFO_S = 5.0


class Router:
    """Transcribes lists of records, with the models of the settings.

    Each model is a Serve application of its own, which may come, go and change meanwhile.

    Args:
        settings: the whole file.
    """

    def __init__(self, settings: Settings) -> None:
        use_replica_log()
        trace_replica()
        return_large_blocks()
        self._callers = Callers(ended)
        self._app = settings.serve.app
        self._settings = settings_digest(settings)
        timeout_s = settings.routing.timeout_s
        self._sleepers = {name for name, model in settings.models.items() if model.may_sleep}
        self._optional = {name for name, model in settings.models.items() if not model.required}
        self._missing = MissingModels(settings.serve.app, self._optional)
        self._models = {
            name: ModelClient(name, handle_of(name, app), timeout_s, self._missing)
            for name, app in model_apps(settings.serve.app, settings.models).items()
        }
        reader = RecordReader(AudioLoader(settings.audio))
        path = settings.routing.calibration
        self._transcriber = Transcriber(
            settings,
            self._models,
            reader.load,
            begin=reader.begin,
            calibration=read_calibration(Path(path)) if path else None,
            meter=RouterMeter(replica_instruments()),
        )
        self._rollouts = RolloutWatch(settings, self._transcriber.candidates)

    async def transcribe(
        self, call: bytes, caller: str | None = None, clips: list[Recording] | None = None
    ) -> bytes:
        """One `Transcript` or `RecordError` per record, in order. Does not raise for a record.

        Args:
            call: a `RecordsCall`; see `schemas.records_call` for both it and the answer.
            caller: the process that calls, see `Callers`.
            clips: the records' audio at `SAMPLE_RATE`, if no files are to be read.
        """
        asked = decode(call, RecordsCall)
        results = await self._results(asked.records, asked.options, caller, clips)
        return encode(RecordsAnswer.of(results))

    async def _results(
        self,
        records: list[ManifestRecord],
        options: CallOptions,
        caller: str | None,
        clips: list[Recording] | None,
    ) -> list[Result]:
        if options.settings not in (None, self._settings):
            reason = "the application now runs with other settings than its caller"
            return [
                RecordError(id=record.id, code=ErrorCode.OTHER_SETTINGS, message=reason)
                for record in records
            ]
        if options.group is not None and options.backlog is not None:
            await self._note_demand(options.group, options.backlog)
        if not records:
            return []
        await self._rollouts.start()
        with self._callers.call_of(caller):
            return await self._transcriber.transcribe(records, clips=clips, options=options)

    async def _note_demand(self, group: str, backlog: Backlog) -> None:
        """Leave word of what a stream wants, for the policies that scale."""
        demand = self._transcriber.state.demand.of(group, backlog)
        if demand is None:
            return
        try:
            await asyncio.to_thread(put_demand, self._app, group, demand)
        except Exception as error:  # as while Ray's head is started again
            logger.info("what the stream wants could not be noted: %s", type(error).__name__)

    async def identity(self) -> Identity:
        """Say what this Router serves."""
        missing = [name for name in self._models if await self._missing.reason(name) is not None]
        there = [name for name in self._models if name not in missing]
        return Identity(settings=self._settings, models=tuple(there), missing=tuple(missing))

    async def probe(self, timeout_s: float) -> dict[str, bool | None]:
        """Whether each model answers half a second of silence within `timeout_s` seconds.

        None for one that does not and is not required. One that may sleep is not asked, which would
        wake it.
        """
        asked = [name for name in self._models if name not in self._sleepers]
        answers = await self._transcriber.probe(asked, timeout_s)
        return dict.fromkeys(self._sleepers, True) | {
            name: None if not answered and name in self._optional else answered
            for name, answered in answers.items()
        }

    async def info(self) -> dict[str, ModelInfo]:
        """Describe what each model serves, by name.

        Without those that do not answer soon, and those that this would wake.
        """

        async def ask(model: ModelClient) -> ModelInfo | None:
            try:
                async with asyncio.timeout(_INFO_S):
                    return await model.info()
            except (ModelError, TimeoutError):
                return None

        asked = {name: each for name, each in self._models.items() if name not in self._sleepers}
        answers = await asyncio.gather(*map(ask, asked.values()))
        pairs = zip(asked, answers, strict=True)
        return {name: info for name, info in pairs if info is not None}
