"""`chorus check`: is this settings file right?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workers.cli.common import JsonOption, print_json


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
        print_json({"models": list(settings.models), "rules": dict(rules)})
        return
    print(f"{settings_file}: right")
    for name, model in settings.models.items():
        chosen = [rule for rule, target in rules if target == name]
        print(f"  {name:12} {model.engine}, by rules: {', '.join(chosen) or 'none'}")
