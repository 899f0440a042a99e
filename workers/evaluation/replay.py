"""Plans on recorded hypotheses: what the Router would decide, without asking a model again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.failures import ErrorCode
from schemas.manifest import ManifestRecord
from serve_app.engines.base import Hypothesis
from serve_app.plans import Answer, Decision, Failure, Planner


@dataclass(frozen=True)
class Replayed:
    """What became of a record.

    Attributes:
        text: empty where no model had one.
        asked: the models that were asked, one after the other.
    """

    text: str
    decision: Decision | Failure
    asked: tuple[str, ...]


def replay(
    planner: Planner, target: str, record: ManifestRecord, heard: Mapping[str, Hypothesis]
) -> Replayed:
    """Run the plan or model called `target`; models that are not in `heard` fail."""
    course = planner.course(target, record)
    asked: list[str] = []
    ask = next(course)
    while True:
        asked += ask.models
        try:
            ask = course.send({model: _answer(model, heard) for model in ask.models})
        except StopIteration as stop:
            found: Decision | Failure = stop.value
            text = found.text if isinstance(found, Decision) else ""
            return Replayed(text, found, tuple(asked))


def _answer(model: str, heard: Mapping[str, Hypothesis]) -> Answer:
    if model in heard:
        return heard[model]
    return Failure(ErrorCode.MODEL_UNAVAILABLE, f"model {model}: was not recorded", model)
