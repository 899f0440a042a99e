"""A plan or the routing rules of the settings, measured like a model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from schemas.calibration import Calibration
from schemas.failures import ErrorCode
from schemas.manifest import ManifestRecord
from schemas.requests import ClipRequest
from schemas.settings import AUTO, Settings
from serve_app.audio.clip import SAMPLE_RATE, Clip, Measures
from serve_app.audio.measures import measure
from serve_app.audio.resample import resample
from serve_app.engines.base import Engine, Hypothesis, Rejection
from serve_app.engines.calling import call_isolated
from serve_app.engines.load import load_engine
from serve_app.routing.calibration import read_calibration
from serve_app.routing.plans import Answer, Answers, Decision, Failure, Planner, PlanRun, Query
from serve_app.routing.rules import Selector
from serve_app.routing.writing import writers
from workers.evaluation.systems.base import ModelSystem, SystemInfo


class PlanSystem:
    """A plan of the settings, or with `AUTO` their routing rules.

    Only the audio of an utterance is known to the plan: rules on keys of the record never hold, and
    tiers judge by confidence, never by the reference that the system is scored with.

    Args:
        name: display name.
        plan: name of the plan or model, or `AUTO`.
        settings: the settings with the plan and its models.

    Raises:
        OSError: the calibration that the settings name cannot be read.
        ValueError: the calibration is invalid.
    """

    def __init__(self, name: str, plan: str, settings: Settings) -> None:
        self.name = name
        self._plan = plan
        self._settings = settings
        path = settings.routing.calibration
        self._calibration = read_calibration(Path(path)) if path else None
        self._rules = {
            name: settings.text_rules[model.text_rules]
            for name, model in settings.models.items()
            if model.text_rules is not None
        }

    @property
    def identity(self) -> object:
        """The plan with its models and calibration, see `System`."""
        settings = self._settings
        routing = msgspec.structs.replace(settings.routing, calibration=None)
        return msgspec.to_builtins(
            {
                "plan": self._plan,
                "plans": settings.plans,
                "routing": routing if self._plan == AUTO else None,
                "calibration": self._calibration,
                "models": {
                    name: ModelSystem(
                        name, settings.models[name], rules=self._rules.get(name)
                    ).identity
                    for name in members(settings, self._plan)
                },
            }
        )

    def load(self) -> tuple[Engine, SystemInfo]:
        """Load all models that the plan may use, in this process.

        Raises:
            EngineError: a model cannot be loaded.
        """
        begin = time.perf_counter()
        models = self._settings.models
        engines = {name: load_engine(models[name]) for name in members(self._settings, self._plan)}
        engine = PlanEngine(self._plan, self._settings, self._calibration, engines)
        info = SystemInfo(
            name=self.name,
            type="plan",
            device=engine.device,
            load_seconds=round(time.perf_counter() - begin, 3),
            text_rules=sorted(
                {model.text_rules for name in engines if (model := models[name]).text_rules}
            ),
        )
        return engine, info


class PlanEngine:
    """A plan and the engines of its models, as one `serve_app.engines.base.Engine`.

    Args:
        plan: name of the plan or model, or `AUTO`.
        settings: the settings with the plan.
        calibration: calibration of the models' confidences.
        engines: the loaded engines by model.
    """

    def __init__(
        self,
        plan: str,
        settings: Settings,
        calibration: Calibration | None,
        engines: dict[str, Engine],
    ) -> None:
        self.sample_rate = SAMPLE_RATE
        self.sha256 = ""
        self.device = next(iter(engines.values())).device
        self._target = None if plan == AUTO else plan
        self._engines = engines
        self._selector = Selector(settings.routing)
        self._planner = Planner(settings, calibration)
        self._language_model = settings.routing.language_model
        self._write = writers(settings.models, settings.text_rules)

    def transcribe(
        self, clips: Sequence[Clip], requests: Sequence[ClipRequest]
    ) -> list[Hypothesis | Rejection]:
        """Run the plans of all clips in rounds; in each, a model gets all its clips together."""
        runs = self._runs(clips, requests)
        ended: dict[int, Decision | Failure] = {}
        queries = {index: next(run) for index, run in enumerate(runs)}
        while queries:
            answers = self._answers(clips, requests, queries)
            under_way, queries = queries, {}
            for index in under_way:
                try:
                    queries[index] = runs[index].send(answers[index])
                except StopIteration as stop:
                    ended[index] = stop.value
        return [self._result(ended[index], each.words) for index, each in enumerate(requests)]

    def _runs(self, clips: Sequence[Clip], requests: Sequence[ClipRequest]) -> list[PlanRun]:
        """The plan of each clip, by the rules where no plan was named."""
        record = ManifestRecord(id="clip", audio_filepath="clip")
        if self._target is not None:
            targets = [self._target] * len(clips)
        else:
            speech = self._selector.needs_speech
            measured = [measure(clip, self.sample_rate, speech=speech) for clip in clips]
            targets = [
                self._selector.choose(record, each).target
                for each in self._with_languages(record, clips, measured)
            ]
        return [
            # not known to the rules, but to a vote, which reads numbers
            self._planner.run(target, msgspec.structs.replace(record, lang=each.language))
            for target, each in zip(targets, requests, strict=True)
        ]

    def _with_languages(
        self, record: ManifestRecord, clips: Sequence[Clip], measured: Sequence[Measures]
    ) -> list[Measures]:
        """The measures, with the languages of the clips whose rules depend on them."""
        asked = [
            index
            for index, each in enumerate(measured)
            if self._selector.needs_language(record, each)
        ]
        measured = list(measured)
        if not asked:
            return measured
        engine = self._engines[str(self._language_model)]
        some = [resample(clips[i], self.sample_rate, engine.sample_rate) for i in asked]
        heard = call_isolated(engine, some, [ClipRequest(identify=True)] * len(some))
        for index, each in zip(asked, heard, strict=True):
            if isinstance(each, Hypothesis) and each.language is not None:
                measured[index] = {**measured[index], **each.language.measures}
        return measured

    def _answers(
        self,
        clips: Sequence[Clip],
        requests: Sequence[ClipRequest],
        queries: dict[int, Query],
    ) -> dict[int, Answers]:
        answers: dict[int, dict[str, Answer]] = {index: {} for index in queries}
        for model, engine in self._engines.items():
            chosen = [index for index, query in queries.items() if model in query.models]
            if not chosen:
                continue
            some = [resample(clips[i], self.sample_rate, engine.sample_rate) for i in chosen]
            words = model in self._planner.needs_words
            asked = [replace(requests[i], words=words or requests[i].words) for i in chosen]
            for index, heard in zip(chosen, call_isolated(engine, some, asked), strict=True):
                answers[index][model] = (
                    heard
                    if isinstance(heard, Hypothesis)
                    else Failure(heard.code, f"model {model}: {heard.message}", model)
                )
        return dict(answers)

    def _result(self, found: Decision | Failure, words: bool) -> Hypothesis | Rejection:
        """The end of a plan, with the text as the Router writes it."""
        if isinstance(found, Failure):
            return Rejection(code=ErrorCode(found.code), message=found.message)
        write = self._write.get(found.model)
        return Hypothesis(
            text=write(found.text) if write else found.text,
            confidence=found.confidence,
            words=found.words if words else None,
        )


def members(settings: Settings, plan: str) -> tuple[str, ...]:
    """The models that a plan may use; with `AUTO`, those of any plan that a rule names."""
    planner = Planner(settings)
    if plan != AUTO:
        return planner.members(plan)
    targets = [*(rule.target for rule in settings.routing.rules), settings.routing.default]
    language_model = settings.routing.language_model
    if language_model is not None:
        targets.append(language_model)
    return tuple(dict.fromkeys(model for each in targets for model in planner.members(each)))
