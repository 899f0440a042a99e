"""`chorus key`: a new key for a client of the HTTP API."""

from __future__ import annotations

import hashlib
import secrets

import typer

from workers.cli.common import JsonOption, print_json


def key(as_json: JsonOption = False) -> None:
    """Make an API key; only its digest goes into the settings."""
    made = f"chorus-{secrets.token_urlsafe(32)}"
    digest = hashlib.sha256(made.encode()).hexdigest()
    if as_json:
        print_json({"key": made, "sha256": digest})
        return
    typer.echo(f"for the client:    {made}")
    typer.echo("for the settings:  http:")
    typer.echo(f"                     keys: {{NAME: {{sha256: {digest}}}}}")
    typer.echo("The key is not kept anywhere.", err=True)
