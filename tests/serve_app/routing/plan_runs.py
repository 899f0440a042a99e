"""Plans are driven here as what they are: generators that ask and are told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from schemas.calibration import Calibration, ModelCalibration
from schemas.failures import ErrorCode
from schemas.manifest import ManifestRecord
from schemas.settings import Combiner, Settings
from schemas.transcript import Word
from serve_app.engines.base import Hypothesis
from serve_app.routing.plans import Answer, Decision, Failure, Planner, Query

LEARNED = ModelCalibration(bias=-2.0, word=1.0, utterance=0.5, words=1000)


def settings_of(plans: Mapping[str, Any]) -> Settings:
    return msgspec.convert(
        {
            "models": {name: {} for name in "abcd"},
            "routing": {"default": "a"},
            "audio": {"roots": ["/"]},
            "plans": plans,
        },
        Settings,
    )


def calibration_of(*models: str) -> Calibration:
    return Calibration(
        made="2024-05-01T12:00:00+00:00",
        normaliser="chorus-1",
        utterances=1,
        models=dict.fromkeys(models, LEARNED),
        sha256=dict.fromkeys(models, ""),
        combiner=Combiner(),
    )


def heard(text: str, *sure: float) -> Hypothesis:
    """A hypothesis whose words last a second each, with these confidences."""
    words = [
        Word(word, float(place), place + 1.0, each)
        for place, (word, each) in enumerate(zip(text.split(), sure, strict=True))
    ]
    confidence = sum(sure) / len(sure) if sure else None
    return Hypothesis(text=text, confidence=confidence, words=words)


def failure(model: str, code: ErrorCode = ErrorCode.MODEL_TIMEOUT) -> Failure:
    return Failure(code, f"{model}: failed", model)


def run(
    target: str,
    answers: Mapping[str, Hypothesis | ErrorCode],
    plans: Mapping[str, Any] | None = None,
    *,
    text: str | None = None,
    calibration: Calibration | None = None,
) -> tuple[Decision | Failure, list[Query]]:
    """What becomes of a record whose models answer so, and what was asked."""
    planner = Planner(settings_of(plans or {}), calibration)
    record = ManifestRecord(id="r", audio_filepath="r.wav", text=text)
    plan_run = planner.run(target, record)
    queries = []
    try:
        query = next(plan_run)
        while True:
            queries.append(query)
            told: dict[str, Answer] = {}
            for model in query.models:
                answer = answers[model]
                told[model] = failure(model, answer) if isinstance(answer, ErrorCode) else answer
            query = plan_run.send(told)
    except StopIteration as stop:
        return stop.value, queries


def decide(*args: Any, **keys: Any) -> tuple[Decision, list[Query]]:
    found, queries = run(*args, **keys)
    assert isinstance(found, Decision)
    return found, queries


GONE = ErrorCode.MODEL_UNAVAILABLE

LATE = ErrorCode.MODEL_TIMEOUT

VOTE = {"method": "rover", "alpha": 1.0, "power": 0.0}

THREE = {"three": {"ensemble": ["a", "b", "c"], "combine": VOTE, "patience_s": 1.5}}

ALL = {"a": heard("the bat", 0.8, 0.8), "b": heard("the cat", 0.8, 0.7), "c": heard("a cat", 1, 1)}
