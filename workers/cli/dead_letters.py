"""`chorus dead-letters`: inspect records that were not transcribed, replay or drop them."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers import exit_codes
from workers.cli.common import DEFAULT_SETTINGS, JsonOption, SettingsOption, fail, print_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from workers.kafka.dead_letters import Settled
    from workers.kafka.letter_choice import Choice, Letter

app = typer.Typer(
    help="List, show, replay and drop dead letters: records that could not be transcribed.",
    no_args_is_help=True,
)

IdsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="ID", help="Record ids, or TOPIC-PARTITION-OFFSET as listed."),
]


@app.command("list")
def list_letters(
    settings_file: SettingsOption = DEFAULT_SETTINGS,
    code: Annotated[
        str | None, typer.Option(help="List only dead letters with this error code.")
    ] = None,
    only_open: Annotated[
        bool, typer.Option("--open", help="List only those that were not replayed.")
    ] = False,
    dropped: Annotated[bool, typer.Option("--dropped", help="List dropped ones as well.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the dead letters: when and where each came from, why, and whether it was replayed."""
    from schemas.settings import load_settings
    from workers.kafka.dead_letters import DeadLetters

    letters = DeadLetters(load_settings(settings_file, files=False).kafka, skip_newer=True)
    for letter in letters:
        if code is not None and letter.view.code != code:
            continue
        if letter.mark and (only_open or (letter.mark.mark == "dropped" and not dropped)):
            continue
        if as_json:
            print_json(_as_builtins(letter))
        else:
            view = letter.view
            print(
                f"{_time(view.timestamp)}  {view.source}  {view.id}  {view.failure}/{view.code}"
                f"{_mark(letter)}"
            )
            print(f"    {view.message}")
    _say_foreign(letters.foreign)
    if letters.newer:
        fail(
            f"{letters.newer} messages of the topic were written by a newer version of Chorus and "
            "are left out: letters, or what became of some; update this one",
            exit_codes.PARTIAL,
        )


@app.command("show")
def show_letter(
    record_id: Annotated[
        str, typer.Argument(metavar="ID", help="Record id, or TOPIC-PARTITION-OFFSET as listed.")
    ],
    settings_file: SettingsOption = DEFAULT_SETTINGS,
    as_json: JsonOption = False,
) -> None:
    """Show one dead letter and the original record; the latest of several with this id."""
    import msgspec

    from schemas.settings import load_settings
    from workers.kafka.dead_letters import DeadLetters

    found = None
    for letter in DeadLetters(load_settings(settings_file, files=False).kafka):
        if record_id in letter.names:
            found = letter
    if found is None:
        fail(
            f"no dead letter {record_id}; `chorus dead-letters list` shows what there is",
            exit_codes.FAILURE,
        )
    value = (found.message.value or b"").decode(errors="replace")
    if as_json:
        print_json({**_as_builtins(found), "value": value})
        return
    shown = {**msgspec.to_builtins(found.view), "timestamp": _time(found.view.timestamp)}
    if found.mark is not None:
        shown[found.mark.mark] = _time(found.mark.timestamp)
        shown["by"] = found.mark.by or None
    for key, item in shown.items():
        if item is not None:
            print(f"{key + ':':14} {item}")
    if found.view.value_omitted is None:
        print(f"{'value:':14} {value}")


@app.command("replay")
def replay(
    record_ids: IdsArgument = None,
    settings_file: SettingsOption = DEFAULT_SETTINGS,
    everything: Annotated[
        bool, typer.Option("--all", help="Replay all that were neither replayed nor dropped.")
    ] = False,
    code: Annotated[
        str | None, typer.Option(help="Replay only those with this error code.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Replay also what was replayed or dropped before.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Send the original records of dead letters back to the topic that they came from.

    A letter is marked in the transaction that sends its record, and is replayed once unless
    --again is given. Exits with 3 if a given id does not exist, or a letter does not hold its
    record.
    """
    from workers.kafka import dead_letters

    _settle(
        lambda kafka, choice, by: dead_letters.replay(kafka, choice, again=again, by=by),
        "replayed",
        record_ids,
        code,
        everything,
        settings_file,
        as_json,
    )


@app.command("drop")
def drop(
    record_ids: IdsArgument = None,
    settings_file: SettingsOption = DEFAULT_SETTINGS,
    everything: Annotated[
        bool, typer.Option("--all", help="Drop all that were neither replayed nor dropped.")
    ] = False,
    code: Annotated[str | None, typer.Option(help="Drop only those with this error code.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Mark dead letters as done with: they are not listed or replayed any more.

    The topic keeps them until its retention deletes them. Exits with 3 if a given id does not
    exist.
    """
    from workers.kafka import dead_letters

    _settle(
        lambda kafka, choice, by: dead_letters.drop(kafka, choice, by=by),
        "dropped",
        record_ids,
        code,
        everything,
        settings_file,
        as_json,
    )


def _settle(
    settle: Callable[[Any, Choice, str], Settled],
    what: str,
    record_ids: list[str] | None,
    code: str | None,
    everything: bool,
    settings_file: SettingsOption,
    as_json: bool,
) -> None:
    from schemas.settings import load_settings
    from serve_app.registry.provenance import user
    from workers.kafka.dead_letters import OtherCommandError
    from workers.kafka.letter_choice import Choice

    if everything == bool(record_ids):
        fail("give either ids or --all", exit_codes.SETTINGS)
    names = frozenset(record_ids) if record_ids else None
    choice = Choice(names=names, code=code or "")
    try:
        found = settle(load_settings(settings_file, files=False).kafka, choice, user())
    except OtherCommandError as error:
        fail(str(error), exit_codes.FAILURE)
    if as_json:
        counts = {"before": found.before, "without_value": found.without_value}
        print_json({what: found.done, **counts, "missing": sorted(found.missing)})
    else:
        before = f"; {found.before} had been replayed or dropped before" if found.before else ""
        print(f"{what} {found.done} dead letters{before}")
    _say_foreign(found.foreign)
    problems = []
    if found.without_value:
        problems.append(
            f"{found.without_value} dead letters do not hold their record, which was too large or "
            "could not be read"
        )
    if found.missing:
        problems.append(f"no such dead letter: {', '.join(sorted(found.missing))}")
    if problems:
        fail("; ".join(problems), exit_codes.PARTIAL)


def _say_foreign(count: int) -> None:
    if count:
        print(f"{count} messages of the topic are no dead letters; left alone", file=sys.stderr)


def _as_builtins(letter: Letter) -> dict[str, Any]:
    import msgspec

    mark = letter.mark
    found: dict[str, Any] = {mark.mark: mark.timestamp} if mark is not None else {}
    if mark is not None and mark.by:
        found["by"] = mark.by
    builtins: dict[str, Any] = msgspec.to_builtins(letter.view)
    return {**builtins, **found}


def _mark(letter: Letter) -> str:
    mark = letter.mark
    if mark is None:
        return ""
    return f"  ({mark.mark} {_time(mark.timestamp)}{f' by {mark.by}' if mark.by else ''})"


def _time(timestamp: float) -> str:
    """Unix time in seconds as people read it: UTC, to the second."""
    try:
        when = datetime.fromtimestamp(timestamp, UTC)
    except (ValueError, OverflowError, OSError):  # any producer's
        return str(timestamp)
    return f"{when:%Y-%m-%d %H:%M:%S}Z"
