"""Run plans on recorded hypotheses: what the Router would decide, without running models again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.failures import ErrorCode
from schemas.manifest import ManifestRecord
from serve_app.engines.base import Hypothesis
from serve_app.routing.plans import Answer, Decision, Failure, Planner


@dataclass(frozen=True)
class Replayed:
    """Result of running a plan on recorded hypotheses.

    Attributes:
        text: transcript; empty if no model had one.
        decision: what the plan decided.
        asked: models that the plan used, in order.
    """

    text: str
    decision: Decision | Failure
    asked: tuple[str, ...]


def replay(
    planner: Planner, target: str, record: ManifestRecord, heard: Mapping[str, Hypothesis]
) -> Replayed:
    """Run the plan or model called `target`; models that are not in `heard` count as failed."""
    run = planner.run(target, record)
    asked: list[str] = []
    query = next(run)
    while True:
        asked += query.models
        try:
            query = run.send({model: _answer(model, heard) for model in query.models})
        except StopIteration as stop:
            found: Decision | Failure = stop.value
            text = found.text if isinstance(found, Decision) else ""
            return Replayed(text, found, tuple(asked))


def _answer(model: str, heard: Mapping[str, Hypothesis]) -> Answer:
    if model in heard:
        return heard[model]
    return Failure(ErrorCode.MODEL_UNAVAILABLE, f"model {model}: no recorded hypothesis", model)
