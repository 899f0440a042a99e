"""`chorus rollout pause`, `promote` and `abort`: what a person does to a rollout.

They write to the registry, where the judge of the rollout reads it at its next look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.cli.common import DEFAULT_SETTINGS, SettingsOption
from workers.cli.models.common import ByOption, WhyOption, explained
from workers.cli.rollout.common import (
    ModelArgument,
    open_rollouts,
    registry_of,
    registry_settings,
    under_way,
)
from workers.cli.rollout.status import findings_of

if TYPE_CHECKING:
    from schemas.rollout import EventKind, RolloutPlan
    from schemas.settings import Settings


@explained
def pause(
    model: ModelArgument,
    why: WhyOption = "",
    by: ByOption = None,
    settings_file: SettingsOption = DEFAULT_SETTINGS,
) -> None:
    """Give the candidate no speech until `chorus rollout resume`; it stays loaded."""
    settings = _settings(settings_file)
    rollout = under_way(settings, model)
    if rollout.paused is not None:
        why = f": {rollout.paused.why}" if rollout.paused.why else ""
        print(f"paused already by {rollout.paused.by} at {rollout.paused.at}{why}")
        return
    _add(settings, rollout.plan, "paused", by, why)
    print(f"rollout {rollout.plan.number} of {model} pauses; {_soon(settings)}")


@explained
def promote(
    model: ModelArgument,
    why: WhyOption = "",
    by: ByOption = None,
    settings_file: SettingsOption = DEFAULT_SETTINGS,
) -> None:
    """Let the alias name the candidate, whatever the verdict, and end the rollout."""
    from serve_app.registry.provenance import user

    settings = _settings(settings_file)
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
    print(verdict)
    print(f"{plan.name}@{plan.alias} is {plan.name}:{plan.candidate} now; {_soon(settings)}")


@explained
def abort(
    model: ModelArgument,
    why: WhyOption = "",
    by: ByOption = None,
    settings_file: SettingsOption = DEFAULT_SETTINGS,
) -> None:
    """End a rollout; the version that serves stays, and the candidate is removed."""
    settings = _settings(settings_file)
    plan = under_way(settings, model).plan
    _add(settings, plan, "aborted", by, why)
    print(f"rollout {plan.number} of {model} is aborted; {_soon(settings)}")


def _settings(settings_file: SettingsOption) -> Settings:
    from schemas.settings import load_settings

    return load_settings(settings_file, files=False)


def _add(settings: Settings, plan: RolloutPlan, kind: EventKind, by: str | None, why: str) -> None:
    from serve_app.registry.provenance import user

    open_rollouts(settings).add(plan, kind, by=by or user(), why=why)


def _soon(settings: Settings) -> str:
    """When what runs notices."""
    return f"what runs follows within {registry_settings(settings).poll_s:g} s"
