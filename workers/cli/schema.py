"""`chorus schema`: the contracts as JSON Schema."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from workers import exit_codes
from workers.cli.common import fail


def schema(
    name: Annotated[str | None, typer.Argument(help="One contract; all without it.")] = None,
) -> None:
    """Print the JSON Schema of a contract, or of all, for producers in any language."""
    from schemas.json_schema import CONTRACTS, json_schema

    if name is None:
        print(json.dumps({name: json_schema(name) for name in CONTRACTS}, indent=2))
    elif name in CONTRACTS:
        print(json.dumps(json_schema(name), indent=2))
    else:
        fail(f"no contract `{name}`; there are: {', '.join(CONTRACTS)}", exit_codes.SETTINGS)
