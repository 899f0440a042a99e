"""`chorus engine check`: is an engine of your own what the protocol says?"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers import exit_codes
from workers.cli.common import JsonOption, fail, print_json

if TYPE_CHECKING:
    from serve_app.engines.conformance.trial import Checked

app = typer.Typer(help="Engines of your own.", no_args_is_help=True)


@app.callback()
def engine() -> None:
    """Engines of your own: see docs/engines.md."""


@app.command()
def check(
    name: Annotated[
        str,
        typer.Argument(
            metavar="PACKAGE.MODULE:CLASS",
            help="The class, on the Python path or in this folder; or `nemo`.",
            show_default=False,
        ),
    ],
    path: Annotated[
        Path | None,
        typer.Option(help="File or folder of its model: `path` of its settings."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE", help="One of the `options` of its settings, in YAML; repeatable."
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=1, help="Longest time of all checks together, in seconds.")
    ] = 900.0,
    as_json: JsonOption = False,
) -> None:
    """Hold a class against the engine protocol: what is right, what is not, what to do.

    It is loaded in a process of its own, which may crash or hang, and transcribes a few seconds of
    shipped speech, silence, empty, long and broken clips, alone and in batches. Exits with 0 if
    nothing is wrong, 7 if something is, 2 if the command line is.
    """
    from schemas.settings import ModelSettings
    from serve_app.engines.conformance.trial import check_apart
    from workers.doctor.clips import as_trial, read_clips

    if name != "nemo" and not re.fullmatch(r"[\w.]+:\w+", name):
        fail(f"{name} is neither `package.module:Class` nor `nemo`", exit_codes.SETTINGS)
    if path is not None and not path.exists():
        fail(f"--path {path}: there is no such file or folder", exit_codes.SETTINGS)
    settings = ModelSettings(
        engine=name,
        path=None if path is None else str(path.absolute()),
        options=dict(map(_option, option or [])),
    )
    print(f"checking {name} in a process of its own ...", file=sys.stderr)
    found = check_apart(settings, as_trial(read_clips(None)), timeout_s=timeout)
    if as_json:
        _print_as_json(name, found)
    else:
        _print_for_people(found)
    if any(each.state == "wrong" for each in found):
        sys.exit(exit_codes.NOT_PASSED)


def _option(text: str) -> tuple[str, Any]:
    import yaml

    from schemas.settings.yaml_reading import YamlText

    key, equals, value = text.partition("=")
    if not key or not equals:
        fail(f"--option {text}: give KEY=VALUE", exit_codes.SETTINGS)
    try:
        return key, YamlText(value).value
    except yaml.YAMLError:
        fail(f"--option {text}: the value is not valid YAML", exit_codes.SETTINGS)


def _print_as_json(name: str, found: Sequence[Checked]) -> None:
    import msgspec

    counts = {state: _count(found, state) for state in ("wrong", "warning")}
    print_json({"engine": name, **counts, "checks": msgspec.to_builtins(found)})


def _print_for_people(found: Sequence[Checked]) -> None:
    from rich.table import Table
    from rich.text import Text

    from workers.cli.tables import people_console

    console = people_console()
    table = Table(box=None, pad_edge=False)
    colours = {"ok": "green", "warning": "yellow", "wrong": "red"}
    for heading in ("check", "", "seen"):
        table.add_column(heading)
    for each in found:
        table.add_row(each.name, Text(each.state, colours[each.state]), Text(each.said))
    console.print(table)
    for each in found:
        if each.state != "ok":
            console.print(Text(f"\n{each.name}: {each.said}\n  next: {each.next}"))
    warnings = _count(found, "warning")
    console.print(
        f"\n{_count(found, 'wrong')} wrong, {warnings} warning{'' if warnings == 1 else 's'}"
    )


def _count(found: Sequence[Checked], state: str) -> int:
    return sum(each.state == state for each in found)
