"""`chorus models`: the registry's versions and aliases."""

from __future__ import annotations

import typer

from workers.cli.models import changing, showing

app = typer.Typer(
    help="Show the models of the registry, register versions, and move aliases between them.",
    no_args_is_help=True,
)
app.command("list")(showing.list_models)
app.command("show")(showing.show)
app.command("register")(changing.register)
app.command("import")(changing.import_model)
app.command("promote")(changing.promote)
app.command("rollback")(changing.rollback)
app.command("history")(showing.history)
app.command("diff")(showing.diff)
app.command("verify")(showing.verify)
app.command("gc")(changing.gc)
