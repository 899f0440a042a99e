"""`chorus rollout pause`, `promote` and `abort`: what a person does to a rollout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.cli.common import DEFAULT_SETTINGS, SettingsOption
from workers.cli.models.common import ByOption, WhyOption, explained
from workers.cli.rollout.common import ModelArgument

if TYPE_CHECKING:
    from schemas.settings import Settings


@explained
def pause(
    model: ModelArgument,
    why: WhyOption = "",
    by: ByOption = None,
    settings_file: SettingsOption = DEFAULT_SETTINGS,
) -> None:
    """Give the candidate no speech until `chorus rollout resume`; it stays loaded."""
    from workers.models import rollouts

    settings = _settings(settings_file)
    rollout = rollouts.pause(settings, model, by=by, why=why)
    if rollout.paused is not None:
        reason = f": {rollout.paused.why}" if rollout.paused.why else ""
        print(f"paused already by {rollout.paused.by} at {rollout.paused.at}{reason}")
        return
    soon = rollouts.follows_within(settings)
    print(f"rollout {rollout.plan.number} of {model} pauses; {soon}")


@explained
def promote(
    model: ModelArgument,
    why: WhyOption = "",
    by: ByOption = None,
    settings_file: SettingsOption = DEFAULT_SETTINGS,
) -> None:
    """Let the alias name the candidate, whatever the verdict, and end the rollout."""
    from workers.models import rollouts

    settings = _settings(settings_file)
    rollout, verdict = rollouts.promote(settings, model, by=by, why=why)
    plan, soon = rollout.plan, rollouts.follows_within(settings)
    print(verdict)
    print(f"{plan.name}@{plan.alias} is {plan.name}:{plan.candidate} now; {soon}")


@explained
def abort(
    model: ModelArgument,
    why: WhyOption = "",
    by: ByOption = None,
    settings_file: SettingsOption = DEFAULT_SETTINGS,
) -> None:
    """End a rollout; the version that serves stays, and the candidate is removed."""
    from workers.models import rollouts

    settings = _settings(settings_file)
    plan = rollouts.abort(settings, model, by=by, why=why).plan
    soon = rollouts.follows_within(settings)
    print(f"rollout {plan.number} of {model} is aborted; {soon}")


def _settings(settings_file: SettingsOption) -> Settings:
    from schemas.settings import load_settings

    return load_settings(settings_file, files=False)
