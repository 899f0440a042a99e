"""`chorus check`: is this settings file right?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workers.cli.common import JsonOption, print_json

if TYPE_CHECKING:
    from schemas.settings import Plan


def check(
    settings_file: Annotated[Path, typer.Argument(metavar="SETTINGS", help="Settings file.")],
    as_json: JsonOption = False,
) -> None:
    """Check a settings file without starting anything.

    Exits with 0 when it is right, else with 2 and an error that names file, line and key.
    """
    from schemas.settings import client_options, load_settings

    settings = load_settings(settings_file)
    client_options(settings.kafka)
    rules = [(rule.name, rule.target) for rule in settings.routing.rules]
    rules.append(("default", settings.routing.default))
    if as_json:
        plans = list(settings.plans)
        print_json({"models": list(settings.models), "plans": plans, "rules": dict(rules)})
        return
    print(f"{settings_file}: right")
    parts = {name: model.engine for name, model in settings.models.items()}
    parts |= {name: _told(plan) for name, plan in settings.plans.items()}
    for name, part in parts.items():
        chosen = [rule for rule, target in rules if target == name]
        print(f"  {name:16} {part}, by rules: {', '.join(chosen) or 'none'}")


def _told(plan: Plan) -> str:
    if plan.ensemble is not None:
        return f"ensemble of {', '.join(plan.ensemble)}"
    if plan.tiers is not None:
        return f"{plan.tiers.screen}, then {plan.tiers.high_quality}"
    return str(plan.model)
