"""`chorus dead-letters`: look at what was given up, and send it round again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from workers import exit_codes
from workers.cli.common import DEFAULT_SETTINGS, JsonOption, SettingsOption, fail, print_json

if TYPE_CHECKING:
    from schemas.dead_letter import DeadLetter
    from schemas.settings import Settings
    from workers.topic_reader import Message

app = typer.Typer(help="List, show and replay dead letters.", no_args_is_help=True)


@app.command("list")
def list_letters(
    settings_file: SettingsOption = DEFAULT_SETTINGS,
    code: Annotated[str | None, typer.Option(help="Only this error code.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the dead letters: where each came from, and why it was given up."""
    import msgspec

    from schemas.settings import load_settings

    for _, letter in _letters(load_settings(settings_file)):
        if code is not None and letter.code != code:
            continue
        if as_json:
            print_json(msgspec.to_builtins(letter))
        else:
            print(f"{_source(letter)}  {letter.id}  {letter.failure}/{letter.code}")
            print(f"    {letter.message}")


@app.command("show")
def show_letter(
    record_id: Annotated[str, typer.Argument(metavar="ID", help="Id or topic-partition-offset.")],
    settings_file: SettingsOption = DEFAULT_SETTINGS,
    as_json: JsonOption = False,
) -> None:
    """Show one dead letter with the record as it was."""
    import msgspec

    from schemas.settings import load_settings

    for message, letter in _letters(load_settings(settings_file)):
        if record_id in (letter.id, _source(letter)):
            value = (message.value or b"").decode(errors="replace")
            if as_json:
                print_json({**msgspec.to_builtins(letter), "value": value})
            else:
                for key, item in msgspec.to_builtins(letter).items():
                    print(f"{key + ':':11} {item}")
                print(f"{'value:':11} {value}")
            return
    fail(f"no dead letter with id {record_id}", exit_codes.FAILURE)


@app.command("replay")
def replay(
    record_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", help="Ids or topic-partition-offsets."),
    ] = None,
    settings_file: SettingsOption = DEFAULT_SETTINGS,
    everything: Annotated[
        bool, typer.Option("--all", help="All that were not replayed before.")
    ] = False,
    code: Annotated[str | None, typer.Option(help="Of these only this error code.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Send dead letters back to the topic they came from, each as it was.

    With --all, what was replayed before is left out: replayed letters and the mark of how far the
    replay has come are committed in one transaction.
    """
    from schemas.settings import load_settings
    from workers.replay import replay_letters

    if everything == bool(record_ids):
        fail("give ids or --all", exit_codes.SETTINGS)
    wanted = set(record_ids) if record_ids else None
    replayed, missing = replay_letters(load_settings(settings_file).kafka, wanted, code)
    if as_json:
        print_json({"replayed": replayed, "missing": sorted(missing)})
    else:
        print(f"replayed {replayed} dead letters")
    if missing:
        fail(f"no dead letter with id {', '.join(sorted(missing))}", exit_codes.PARTIAL)


def _source(letter: DeadLetter) -> str:
    return f"{letter.topic}-{letter.partition}-{letter.offset}"


def _letters(settings: Settings) -> Iterator[tuple[Message, DeadLetter]]:
    from schemas.dead_letter import from_headers
    from workers.topic_reader import read_topic

    for message in read_topic(settings.kafka, settings.kafka.topics.dead_letters):
        if message is not None:
            yield message, from_headers(message.headers)
