"""The `chorus` command: one module for each subcommand, put together here.

Subcommands import what they need when they run, so that `chorus --help` answers quickly.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from workers import exit_codes
from workers.cli import (
    benchmark,
    broker,
    calibrate,
    check,
    compare,
    console,
    dead_letters,
    deploy,
    doctor,
    engine,
    explain,
    finetune,
    init,
    key,
    models,
    offsets,
    produce,
    quality,
    rollout,
    schema,
    serve,
    status,
    stream,
    tail,
    topics,
    transcribe,
    validate,
)
from workers.cli.common import fail, kafka_exit_code
from workers.cli.extras import missing_package

app = typer.Typer(
    name="chorus",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve")(serve.serve)
app.command("deploy")(deploy.deploy)
app.command("status")(status.status)
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
app.add_typer(models.app, name="models")
app.add_typer(rollout.app, name="rollout")
app.command("quality")(quality.quality)
app.command("console")(console.console)
app.command("key")(key.key)
app.command("init")(init.init)
app.command("check")(check.check)
app.command("doctor")(doctor.doctor)
app.add_typer(engine.app, name="engine")
app.command("schema")(schema.schema)
app.command("broker")(broker.broker)
app.command("topics")(topics.topics)
app.add_typer(offsets.app, name="offsets")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"chorus {version('chorus-asr')}")
        raise typer.Exit


@app.callback()
def chorus(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=_print_version,
            help="Print the version of Chorus, and exit.",
        ),
    ] = False,
) -> None:
    """Transcribe speech with many domain-specific ASR models: over Kafka, HTTP, or from files."""


def main() -> None:
    """Run the `chorus` command, and end the process with one of `workers.exit_codes`."""
    from schemas.manifest_text import ManifestFileError
    from schemas.settings import SettingsError
    from schemas.versions import SchemaVersionError

    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # engines of one's own, found as in Ray's replicas
    try:
        app()
    except (SettingsError, ManifestFileError) as error:
        fail(str(error), exit_codes.SETTINGS)
    except SchemaVersionError as error:
        fail(str(error), exit_codes.FAILURE)
    except KeyboardInterrupt:
        sys.exit(exit_codes.INTERRUPTED)
    except BrokenPipeError:  # `chorus tail | head`
        sys.stderr.close()
        sys.exit(exit_codes.OK)
    except ConnectionError as error:  # no broker, no Ray
        fail(str(error), exit_codes.UNREACHABLE)
    except ModuleNotFoundError as error:
        message = missing_package(sys.argv[1] if len(sys.argv) > 1 else "", error)
        if message is None:
            raise
        fail(message, exit_codes.FAILURE)
    except Exception as error:
        code = kafka_exit_code(error)
        if code is None:
            raise
        fail(f"Kafka: {error}", code)
