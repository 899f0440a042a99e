"""`chorus key`: make a key for a client of the HTTP API."""

from __future__ import annotations

import hashlib
import secrets

import typer

from workers.cli.common import JsonOption, print_json


def key(as_json: JsonOption = False) -> None:
    """Make a key for a client of the HTTP API; only its SHA-256 digest goes into the settings."""
    new_key = f"chorus-{secrets.token_urlsafe(32)}"
    digest = hashlib.sha256(new_key.encode()).hexdigest()
    if as_json:
        print_json({"key": new_key, "sha256": digest})
        return
    typer.echo(f"for the client:    {new_key}")
    typer.echo("for the settings:  http:")
    typer.echo(f"                     keys: {{NAME: {{sha256: {digest}}}}}")
    typer.echo("The key is not stored anywhere and cannot be shown again.", err=True)
