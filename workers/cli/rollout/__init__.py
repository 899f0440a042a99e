"""`chorus rollout`: is a candidate better than the version that serves, and may it replace it?"""

from __future__ import annotations

import typer

from workers.cli.rollout import changing, replay, starting, status

app = typer.Typer(
    help="Compare a candidate with the version that serves, on live or recorded speech.",
    no_args_is_help=True,
)
app.command("start")(starting.start)
app.command("status")(status.status)
app.command("pause")(changing.pause)
app.command("resume")(starting.resume)
app.command("promote")(changing.promote)
app.command("abort")(changing.abort)
app.command("replay")(replay.replay)
