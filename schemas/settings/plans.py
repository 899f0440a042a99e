"""The section `plans`: how a record is transcribed by more than one model."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import chain
from typing import Annotated, Literal

import msgspec

from schemas.settings.types import Fault, Name, NonNegativeFloat, PositiveFloat, Strict, under


class Combiner(Strict):
    """How the hypotheses of an ensemble become one, see `serve_app.routing.combining`.

    Attributes:
        method: "weighted" takes the text of the heaviest member that has one; "confidence" that
            of the most confident; "mbr" the one that differs least from all, weighted by
            confidence (minimum Bayes risk); "rover" votes word by word.
        weights: weight of each member, by name, for "weighted"; equal unless given.
        alpha: for "rover", the balance of votes and confidences: 1 counts votes only, 0
            confidences only.
        null_confidence: for "rover", the confidence that a member is right in having no word at
            a place.
        vote_confidence: for "rover", how the members' confidences in one word are combined:
            their mean, the highest, or their share of the confidences of all words at that
            place.
        max_gap_s: for "rover", words that are farther apart than this, in seconds, are never
            aligned with each other, where all members have times. Not tested unless given.
        power: for "rover" and "mbr", how much more the vote of a confident member weighs:
            members weigh by their confidence to this power.
    """

    method: Literal["weighted", "confidence", "rover", "mbr"] = "rover"
    weights: dict[Name, NonNegativeFloat] = {}
    alpha: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5
    null_confidence: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.4
    vote_confidence: Literal["mean", "highest", "share"] = "share"
    max_gap_s: NonNegativeFloat | None = None
    power: NonNegativeFloat = 10.0


class Tiers(Strict):
    """A cheap model first; its result decides which model or ensemble has the last word.

    Attributes:
        screen: the cheap model, which transcribes every record first.
        high_quality: model or plan that has the last word for the records that
            `max_screening_wer` or `min_confidence` selects.
        standard: model or plan that has the last word for the other records; unless given, the
            text of `screen` is final there.
        max_screening_wer: a record with a reference goes to `high_quality` if the WER of
            `screen` is at most this many percent (NeMo Curator's tutorial), else to `standard`.
        min_confidence: a record without a reference goes to `high_quality` if `screen` is less
            confident than this, else to `standard`.
        use_reference: whether the reference decides where there is one; if not, confidence
            always does.
    """

    screen: str
    high_quality: str
    standard: str | None = None
    max_screening_wer: NonNegativeFloat = 40.0
    min_confidence: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.93
    use_reference: bool = True


class Plan(Strict):
    """How a record is transcribed; exactly one of `model`, `ensemble` and `tiers` is given.

    Attributes:
        model: one model.
        ensemble: several models, whose hypotheses are combined.
        combine: how the hypotheses of `ensemble` are combined; unless given, as the calibration
            recommends.
        spelling: members of `ensemble` whose spelling of a word that was voted for is taken if
            they say it, the first before the others: those that write capitals, punctuation and
            digits. Else, and by default, it is that of the most confident who says it.
        patience_s: seconds that an ensemble waits for the others once one member has answered.
        tiers: a cheap model first, then another model or plan, depending on its result.
        fallback: models to ask, one after the other, where the plan has no text: its model
            fails, does not answer within `fallback_after_s`, or has no replica.
        fallback_after_s: seconds without an answer after which `fallback` is asked.
    """

    model: str | None = None
    ensemble: list[str] | None = None
    combine: Combiner | None = None
    spelling: list[str] = []
    patience_s: PositiveFloat = 10.0
    tiers: Tiers | None = None
    fallback: list[str] = []
    fallback_after_s: PositiveFloat = 20.0


def plan_faults(plans: Mapping[str, Plan], models: Collection[str]) -> Iterator[Fault]:
    """What contradicts itself in the section, or names what does not exist.

    Args:
        plans: the section.
        models: names of the models that the settings define.
    """
    for name, plan in plans.items():
        faults = chain(
            _plan_name_faults(name, models),
            _kind_faults(plan),
            _member_faults(plan, models),
            _ensemble_faults(plan),
            _tier_faults(name, plan.tiers, plans, models),
        )
        yield from under(f"plans.{name}", faults)


def _plan_name_faults(name: str, models: Collection[str]) -> Iterator[Fault]:
    if name in models:
        yield "", "a model has this name too; a plan needs a name of its own"


def _kind_faults(plan: Plan) -> Iterator[Fault]:
    given = [each for each in ("model", "ensemble", "tiers") if getattr(plan, each) is not None]
    if len(given) != 1:
        yield "", "give exactly one of `model`, `ensemble` and `tiers`"


def _member_faults(plan: Plan, models: Collection[str]) -> Iterator[Fault]:
    named = [("model", plan.model)] if plan.model is not None else []
    named += [("ensemble", member) for member in plan.ensemble or []]
    named += [("fallback", member) for member in plan.fallback]
    named += [("combine.weights", m) for m in (plan.combine.weights if plan.combine else {})]
    if plan.tiers is not None:
        named.append(("tiers.screen", plan.tiers.screen))
    for key, model in named:
        if model not in models:
            yield f".{key}", f"no model `{model}`; defined are: {', '.join(models)}"


def _ensemble_faults(plan: Plan) -> Iterator[Fault]:
    if plan.ensemble is not None and len(set(plan.ensemble)) < max(2, len(plan.ensemble)):
        yield ".ensemble", "name at least two models, each once"
    for model in plan.spelling:
        if model not in (plan.ensemble or []):
            yield ".spelling", f"`{model}` is no member of `ensemble`"


def _tier_faults(
    name: str, tiers: Tiers | None, plans: Mapping[str, Plan], models: Collection[str]
) -> Iterator[Fault]:
    for tier in ("high_quality", "standard") if tiers is not None else ():
        target = getattr(tiers, tier)
        inner = plans.get(target)
        if target is not None and target not in models and inner is None:
            yield f".tiers.{tier}", f"no plan or model `{target}`"
        elif inner is not None and inner.tiers is not None:
            yield f".tiers.{tier}", f"`{target}` has tiers itself; name a plan without"
        elif inner is not None and inner.fallback:
            yield f".tiers.{tier}", f"`{target}` has a fallback; give it to `{name}`"


def plan_text(plan: Plan) -> str:
    """What a plan is made of, in words."""
    if plan.ensemble is not None:
        text = f"ensemble of {', '.join(plan.ensemble)}"
    elif plan.tiers is not None:
        text = f"{plan.tiers.screen}, then {plan.tiers.high_quality}"
    else:
        text = str(plan.model)
    return f"{text}; else {', '.join(plan.fallback)}" if plan.fallback else text
