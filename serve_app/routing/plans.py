"""Plans: which models transcribe a record, in which order, and whose text is used.

A plan is a generator that does no I/O: it yields queries and is sent the answers. So it can be
tested like a function, and its caller decides about batches, time limits and threads.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from schemas.calibration import Calibration
from schemas.failures import ErrorCode
from schemas.manifest import ManifestRecord
from schemas.settings import Combiner, Plan, Settings, Tiers
from schemas.transcript import Word
from serve_app.engines.base import Hypothesis
from serve_app.routing.combining.combine import combine
from serve_app.routing.combining.hypotheses import Candidate, candidate
from serve_app.scoring.wer import count_errors


@dataclass(frozen=True)
class Query:
    """Models to ask at the same time.

    Attributes:
        models: their names.
        patience_s: how long to wait for the others once one has answered with a text; None for no
            limit.
        timeout_s: how long to wait in total; None for no limit.
    """

    models: tuple[str, ...]
    patience_s: float | None = None
    timeout_s: float | None = None


@dataclass(frozen=True)
class Failure:
    """Why a model or a plan has no text for a record.

    Attributes:
        code: the error code of `model`.
        message: for people.
        model: the model that failed; of several, the one whose failure is reported.
        others: error codes of the other models that failed, by model.
    """

    code: ErrorCode
    message: str
    model: str
    others: Mapping[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> dict[str, str]:
        """Error codes by model."""
        return {self.model: self.code.value, **self.others}


Answer = Hypothesis | Failure
Answers = Mapping[str, Answer]


@dataclass(frozen=True)
class Decision:
    """The final text for a record.

    Attributes:
        text: the text.
        model: the model whose text it is; of a vote, the one with the most words in it.
        confidence: from 0 to 1, calibrated if there is a calibration; None if the engine has none.
        words: with times; None if the model has none.
        failed: error codes of the models that failed, by model.
        keys: additional keys of the transcript.
        texts: texts of an ensemble's members, by model.
    """

    text: str
    model: str
    confidence: float | None
    words: list[Word] | None
    failed: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, Any] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


#: A running plan for one record: yields queries, is sent the answers, returns the final result.
PlanRun = Generator[Query, Answers, Decision | Failure]


class Planner:
    """Runs the plans of the settings. Safe to share between threads.

    Args:
        settings: the models and plans.
        calibration: of the models' confidences and the combiner; None leaves confidences raw.

    Attributes:
        needs_words: models that must give words with times and confidences, even if their settings
            do not ask for them.
    """

    def __init__(self, settings: Settings, calibration: Calibration | None = None) -> None:
        self._plans = settings.plans
        self._calibration = calibration.models if calibration else {}
        self._combiner = calibration.combiner if calibration else Combiner()
        self.needs_words = frozenset(self._calibration).union(
            *(plan.ensemble or [] for plan in settings.plans.values()),
            *([plan.tiers.screen] for plan in settings.plans.values() if plan.tiers),
        )

    def members(self, target: str) -> tuple[str, ...]:
        """Every model that the plan or model named `target` may ask, each once."""
        plan = self._plans.get(target)
        if plan is None:
            return (target,)
        named = [*(plan.ensemble or []), *([plan.model] if plan.model else [])]
        if plan.tiers is not None:
            named.append(plan.tiers.screen)
            for tier in (plan.tiers.standard, plan.tiers.high_quality):
                named += self.members(tier) if tier is not None else ()
        return tuple(dict.fromkeys([*named, *plan.fallback]))

    def run(self, target: str, record: ManifestRecord) -> PlanRun:
        """Start the plan or model named `target` for `record`.

        Args:
            target: name of a plan or a model.
            record: the record.
        """
        plan = self._plans.get(target)
        if plan is None:
            return self._model(target)
        return self._plan(target, plan, record)

    def _plan(self, name: str, plan: Plan, record: ManifestRecord) -> PlanRun:
        found = yield from self._first_choice(plan, record)
        if not isinstance(found, Failure):
            return _with_keys(found, plan=name)
        failed = found.failed
        for model in plan.fallback:
            second = yield from self._model(model, plan.fallback_after_s)
            if not isinstance(second, Failure):
                known = {**failed, **second.failed}
                return _with_keys(replace(second, failed=known), plan=name, fallback_from=name)
            failed[model] = second.code.value
        return found

    def _first_choice(self, plan: Plan, record: ManifestRecord) -> PlanRun:
        limit = plan.fallback_after_s if plan.fallback else None
        if plan.model is not None:
            return self._model(plan.model, limit)
        if plan.ensemble is not None:
            return self._ensemble(plan, plan.ensemble, limit)
        if plan.tiers is not None:
            return self._tiered(plan.tiers, record, limit)
        raise ValueError("a plan without `model`, `ensemble` or `tiers`")

    def _model(self, model: str, timeout_s: float | None = None) -> PlanRun:
        answers = yield Query((model,), timeout_s=timeout_s)
        return self._decision(model, answers[model])

    def _decision(self, model: str, answer: Answer) -> Decision | Failure:
        if isinstance(answer, Failure):
            return answer
        if model not in self._calibration or answer.confidence is None:
            return Decision(answer.text, model, answer.confidence, answer.words)
        found = self._candidate(model, answer)
        sure = round(found.confidence, 4) if found.words else answer.confidence
        return Decision(answer.text, model, sure, _calibrated_words(answer, found))

    def _candidate(self, model: str, heard: Hypothesis) -> Candidate:
        return candidate(model, heard, self._calibration.get(model))

    def _ensemble(
        self,
        plan: Plan,
        models: Sequence[str],
        timeout_s: float | None,
        known: Answers | None = None,
    ) -> PlanRun:
        """Ask the members `models`, except those whose answer is `known`, and combine the texts."""
        answers = {model: known[model] for model in models if known and model in known}
        missing = tuple(model for model in models if model not in answers)
        if missing:
            answers |= yield Query(missing, plan.patience_s, timeout_s)
        heard = {m: a for m, a in answers.items() if isinstance(a, Hypothesis)}
        failures = [a for a in answers.values() if isinstance(a, Failure)]
        if not heard:
            first, *others = failures
            return replace(first, others={each.model: each.code.value for each in others})
        members = [self._candidate(m, heard[m]) for m in models if m in heard]
        found = combine(members, plan.combine or self._combiner)
        return Decision(
            text=found.text,
            model=found.model,
            confidence=round(found.confidence, 4),
            words=found.words,
            failed={each.model: each.code.value for each in failures},
            keys={"ensemble_pred_text": found.text, "ensemble_model_count": len(heard)},
            texts={model: each.text for model, each in heard.items()},
        )

    def _tiered(self, tiers: Tiers, record: ManifestRecord, timeout_s: float | None) -> PlanRun:
        known = yield Query((tiers.screen,), timeout_s=timeout_s)
        screened = self._decision(tiers.screen, known[tiers.screen])
        if isinstance(screened, Failure):
            # without a screening result, use the better tier
            found = yield from self._tier(tiers.high_quality, timeout_s, known)
            if isinstance(found, Failure):
                return replace(found, others={**screened.failed, **found.others})
            failed = {**found.failed, **screened.failed}
            keys = {"final_pred": found.text, "processing_tier": "high_quality"}
            return _with_keys(replace(found, failed=failed), **keys)
        wer = None
        if tiers.use_reference:  # None still, if the record has no reference
            wer = count_errors(record.text or "", screened.text, lang=record.lang).percent
        if wer is not None:
            better = wer <= tiers.max_screening_wer
        else:
            better = (screened.confidence or 0.0) < tiers.min_confidence
        tier = "high_quality" if better else "standard"
        target = tiers.high_quality if better else tiers.standard
        final: Decision | Failure = screened
        if target is not None and target != tiers.screen:
            final = yield from self._tier(target, timeout_s, known)
        if isinstance(final, Failure):
            # the text of the screening is better than none
            final = replace(screened, failed=final.failed)
        keys = {"screening_pred": screened.text, "final_pred": final.text, "processing_tier": tier}
        return _with_keys(final, **keys, screening_wer=wer)

    def _tier(self, target: str, timeout_s: float | None, known: Answers | None = None) -> PlanRun:
        plan = self._plans.get(target)
        if plan is None:
            return self._model(target, timeout_s)
        if plan.model is not None:
            return self._model(plan.model, timeout_s)
        if plan.ensemble is not None:
            return self._ensemble(plan, plan.ensemble, timeout_s, known)
        raise ValueError(f"plan {target!r} is a tier, so it must have `model` or `ensemble`")


def _with_keys(found: Decision, **keys: Any) -> Decision:
    return replace(found, keys={**found.keys, **keys})


def _calibrated_words(answer: Hypothesis, found: Candidate) -> list[Word] | None:
    """The words with calibrated confidences; raw ones if `found` leaves words out."""
    if answer.words is None or len(answer.words) != len(found.words):
        return answer.words
    pairs = zip(answer.words, found.confidences, strict=True)
    return [Word(word.word, word.start, word.end, round(sure, 4)) for word, sure in pairs]
