"""The `chorus` command. One module a subcommand; this one only puts them together.

Subcommands import what they need when they run, so that `chorus --help` answers at once.
"""

from __future__ import annotations

import sys

import typer

from workers import exit_codes
from workers.cli import (
    benchmark,
    broker,
    calibrate,
    check,
    compare,
    dead_letters,
    explain,
    finetune,
    key,
    produce,
    schema,
    serve,
    stream,
    tail,
    topics,
    transcribe,
    validate,
)
from workers.cli.common import fail

app = typer.Typer(
    name="chorus",
    help="Stream speech manifests through many domain ASR models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve")(serve.serve)
app.command("stream")(stream.stream)
app.command("produce")(produce.produce)
app.command("tail")(tail.tail)
app.command("transcribe")(transcribe.transcribe)
app.add_typer(dead_letters.app, name="dead-letters")
app.command("finetune")(finetune.finetune)
app.command("explain")(explain.explain)
app.command("benchmark")(benchmark.benchmark)
app.command("compare")(compare.compare)
app.command("validate")(validate.validate)
app.command("calibrate")(calibrate.calibrate)
app.command("key")(key.key)
app.command("check")(check.check)
app.command("schema")(schema.schema)
app.command("broker")(broker.broker)
app.command("topics")(topics.topics)


def main() -> None:
    """Entry point of the `chorus` command."""
    from schemas.settings import SettingsError

    try:
        app()
    except SettingsError as error:
        fail(str(error), exit_codes.SETTINGS)
    except KeyboardInterrupt:
        sys.exit(exit_codes.INTERRUPTED)
    except BrokenPipeError:  # `chorus tail | head`
        sys.stderr.close()
        sys.exit(exit_codes.OK)
    except ConnectionError as error:  # no broker, no Ray
        fail(str(error), exit_codes.UNREACHABLE)
