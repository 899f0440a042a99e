"""A plan of the settings, or their rules as a whole, measured as a model is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from schemas.calibration import Calibration
from schemas.failures import ErrorCode
from schemas.manifest import ManifestRecord
from schemas.settings import AUTO, Settings
from serve_app.audio.measures import measure
from serve_app.audio.resample import resample
from serve_app.calibration import read_calibration
from serve_app.engines.base import Clip, Engine, Hypothesis, Rejection
from serve_app.engines.load import load_engine
from serve_app.plans import Answer, Answers, Ask, Course, Decision, Failure, Planner
from serve_app.selection import Selector
from workers.evaluation.systems import ModelSystem, SystemInfo
from workers.speech import SAMPLE_RATE


class PlanSystem:
    """A plan by its name, or with `AUTO` the rules: those that test measures of the audio.

    Nothing but the audio is known of an utterance: a rule on a key of the record does not hold,
    and tiers judge by confidence, never by the reference that they will be scored with.

    Raises:
        OSError, ValueError: the calibration that the settings name cannot be read.
    """

    def __init__(self, name: str, plan: str, settings: Settings) -> None:
        self.name = name
        self._plan = plan
        self._settings = settings
        path = settings.routing.calibration
        self._calibration = read_calibration(Path(path)) if path else None

    @property
    def identity(self) -> object:
        settings = self._settings
        routing = msgspec.structs.replace(settings.routing, calibration=None)
        return msgspec.to_builtins(
            {
                "plan": self._plan,
                "plans": settings.plans,
                "routing": routing if self._plan == AUTO else None,
                "calibration": self._calibration,
                "models": {
                    name: ModelSystem(name, settings.models[name]).identity
                    for name in members(settings, self._plan)
                },
            }
        )

    def load(self) -> tuple[Engine, SystemInfo]:
        """All models that the plan may ask, in this process. See `System`."""
        begin = time.perf_counter()
        engines = {
            name: load_engine(self._settings.models[name])
            for name in members(self._settings, self._plan)
        }
        engine = PlanEngine(self._plan, self._settings, self._calibration, engines)
        info = SystemInfo(
            name=self.name,
            type="plan",
            device=engine.device,
            load_seconds=round(time.perf_counter() - begin, 3),
        )
        return engine, info


class PlanEngine:
    """Engines behind a plan, as one engine. See `serve_app.engines.base.Engine`."""

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

    def transcribe(
        self, clips: Sequence[Clip], *, words: bool = False
    ) -> list[Hypothesis | Rejection]:
        """Round by round: what the plans of all clips ask for next, each model's clips together."""
        courses = [self._course(clip) for clip in clips]
        ended: dict[int, Decision | Failure] = {}
        asks = {index: next(course) for index, course in enumerate(courses)}
        while asks:
            answers = self._ask(clips, asks, words)
            under_way, asks = asks, {}
            for index in under_way:
                try:
                    asks[index] = courses[index].send(answers[index])
                except StopIteration as stop:
                    ended[index] = stop.value
        return [_result(ended[index], words) for index in range(len(clips))]

    def _course(self, clip: Clip) -> Course:
        record = ManifestRecord(id="clip", audio_filepath="clip")
        target = self._target
        if target is None:
            speech = self._selector.needs_speech
            measures = measure(clip, self.sample_rate, speech=speech)
            target = self._selector.choose(record, measures).target
        return self._planner.course(target, record)

    def _ask(self, clips: Sequence[Clip], asks: dict[int, Ask], words: bool) -> dict[int, Answers]:
        answers: dict[int, dict[str, Answer]] = {index: {} for index in asks}
        for model, engine in self._engines.items():
            chosen = [index for index, ask in asks.items() if model in ask.models]
            if not chosen:
                continue
            some = [resample(clips[i], self.sample_rate, engine.sample_rate) for i in chosen]
            with_words = words or model in self._planner.needs_words
            for index, heard in zip(chosen, engine.transcribe(some, words=with_words), strict=True):
                answers[index][model] = (
                    heard
                    if isinstance(heard, Hypothesis)
                    else Failure(heard.code, f"model {model}: {heard.message}", model)
                )
        return dict(answers)


def members(settings: Settings, plan: str) -> tuple[str, ...]:
    """The models that a plan, or with `AUTO` any plan that a rule names, may ask."""
    planner = Planner(settings)
    if plan != AUTO:
        return planner.members(plan)
    targets = [*(rule.target for rule in settings.routing.rules), settings.routing.default]
    return tuple(dict.fromkeys(model for each in targets for model in planner.members(each)))


def _result(found: Decision | Failure, words: bool) -> Hypothesis | Rejection:
    if isinstance(found, Failure):
        return Rejection(code=ErrorCode(found.code), message=found.message)
    return Hypothesis(
        text=found.text, confidence=found.confidence, words=found.words if words else None
    )
