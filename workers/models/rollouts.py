"""Rollouts as people see and change them: what one does, and to pause, promote or abort it.

What is done is written to the registry, where the judge of the rollout reads it at its next look.
"""

from __future__ import annotations

from collections.abc import Iterable

from schemas.decoding import nearest
from schemas.model_reference import ModelReference, followed_alias
from schemas.rollout import EventKind, RolloutPlan
from schemas.settings import RegistrySettings, Settings
from serve_app.registry.errors import ConflictError
from serve_app.registry.provenance import user
from serve_app.registry.registry import Registry
from serve_app.registry.store import open_store
from serve_app.rollout.evidence import Findings
from serve_app.rollout.records import Rollout, Rollouts


class NotUnderWayError(ConflictError):
    """A model has no rollout, or its last one has ended; the message says which."""


def registry_settings(settings: Settings) -> RegistrySettings:
    """The section `registry`, or its defaults."""
    return settings.registry or RegistrySettings()


def registry_of(settings: Settings) -> Registry:
    """The registry of the settings."""
    return Registry(open_store(registry_settings(settings).url))


def open_rollouts(settings: Settings) -> Rollouts:
    """The rollouts of the settings' registry."""
    return Rollouts(registry_of(settings).store)


def followed(settings: Settings, model: str) -> ModelReference:
    """The alias that a model of the settings follows.

    Raises:
        ValueError: there is no such model, or it follows none.
    """
    if model not in settings.models:
        raise ValueError(f"the settings have no model `{model}`; {nearest(model, settings.models)}")
    reference = followed_alias(settings.models[model].model)
    if reference is None:
        raise ValueError(
            f"models.{model} is {settings.models[model].source}, which no rollout can change: "
            f"serve what an alias names, with `model: {model}@production`"
        )
    return reference


def under_way(settings: Settings, model: str) -> Rollout:
    """The rollout of a model that is under way.

    Raises:
        NotUnderWayError: there is none.
        ValueError: as `followed`.
    """
    reference = followed(settings, model)
    found = open_rollouts(settings).last(reference.name, str(reference.alias))
    if found is None:
        raise NotUnderWayError(
            f"no rollout of {model} was ever begun; `chorus rollout start {model} --candidate "
            "VERSION` begins one"
        )
    if found.end is not None:
        raise NotUnderWayError(
            f"the last rollout of {model} has ended: {found.end.kind.replace('_', ' ')} by "
            f"{found.end.by} at {found.end.at}{': ' + found.end.why if found.end.why else ''}"
        )
    return found


def findings_of(settings: Settings, rollouts: Iterable[Rollout]) -> list[tuple[Rollout, Findings]]:
    """Rollouts with what their stored evidence says.

    Raises:
        OSError: the registry cannot be read.
    """
    stored = open_rollouts(settings)
    return [
        (rollout, stored.evidence(rollout.plan)[1].findings(rollout.plan.rules))
        for rollout in rollouts
    ]


def pause(settings: Settings, model: str, *, by: str | None = None, why: str = "") -> Rollout:
    """Give the candidate no speech until the rollout is resumed; it stays loaded.

    Args:
        settings: that have the model.
        model: its name there.
        by: who does it; the user of this process by default.
        why: in words.

    Returns:
        The rollout as it was; one that is paused already stays as it is.

    Raises:
        NotUnderWayError, ValueError: as `under_way`.
    """
    rollout = under_way(settings, model)
    if rollout.paused is None:
        _add(settings, rollout.plan, "paused", by, why)
    return rollout


def resume(settings: Settings, model: str, *, by: str | None = None, why: str = "") -> Rollout:
    """Give the candidate speech again, where it was paused; it is not loaded. See `pause`."""
    rollout = under_way(settings, model)
    if rollout.paused is not None:
        _add(settings, rollout.plan, "resumed", by, why)
    return rollout


def abort(settings: Settings, model: str, *, by: str | None = None, why: str = "") -> Rollout:
    """End a rollout: the version that serves stays, the candidate is removed. See `pause`."""
    rollout = under_way(settings, model)
    _add(settings, rollout.plan, "aborted", by, why)
    return rollout


def promote(
    settings: Settings, model: str, *, by: str | None = None, why: str = ""
) -> tuple[Rollout, str]:
    """Let the alias name the candidate, whatever the verdict, and end the rollout. See `pause`.

    Returns:
        The rollout as it was, and the verdict in words.

    Raises:
        ConflictError: the alias names another version by now.
    """
    rollout = under_way(settings, model)
    plan, [(_, found)] = rollout.plan, findings_of(settings, [rollout])
    verdict = f"the verdict was {found.verdict.value.replace('_', ' ')}: {found.reason}"
    registry_of(settings).promote(
        plan.name,
        plan.candidate,
        plan.alias,
        why=why or f"rollout {plan.number}",
        by=by or user(),
        over=plan.incumbent,
    )
    _add(settings, plan, "promoted", by, f"{why}; {verdict}" if why else verdict)
    return rollout, verdict


def state_of(rollout: Rollout) -> str:
    """What a rollout does now, or how it ended."""
    if rollout.end is not None:
        return rollout.end.kind.replace("_", " ")
    return "paused" if rollout.paused is not None else "under way"


def sentence(rollout: Rollout, findings: Findings) -> str:
    """A rollout and its verdict on one line."""
    plan = rollout.plan
    what = (
        f"{plan.model}: rollout {plan.number} of {plan.name}:{plan.candidate} against "
        f"{plan.name}:{plan.incumbent}, {state_of(rollout)}"
    )
    last = rollout.end or rollout.paused
    if last is not None:
        return f"{what} by {last.by} at {last.at}{': ' + last.why if last.why else ''}"
    return f"{what}; {findings.verdict.value.replace('_', ' ')}: {findings.reason}"


def follows_within(settings: Settings) -> str:
    """When what runs notices what was done."""
    return f"what runs follows within {registry_settings(settings).poll_s:g} s"


def _add(settings: Settings, plan: RolloutPlan, kind: EventKind, by: str | None, why: str) -> None:
    open_rollouts(settings).add(plan, kind, by=by or user(), why=why)
