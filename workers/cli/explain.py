"""`chorus explain`: show which plan or model would transcribe a record, and why."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers import exit_codes
from workers.cli.common import (
    DEFAULT_SETTINGS,
    JsonOption,
    SettingsOption,
    fail,
    fault_of,
    print_json,
)
from workers.cli.tables import RuleSummary, people_console

if TYPE_CHECKING:
    from rich.console import Console

    from schemas.settings import Condition
    from workers.manifests.explanation import Explanation


def explain(
    records: Annotated[
        list[Path],
        typer.Argument(
            metavar="RECORDS...",
            help="Manifests, or a file with one record as JSON; - for standard input.",
        ),
    ],
    settings_file: SettingsOption = DEFAULT_SETTINGS,
    as_json: JsonOption = False,
) -> None:
    """Show how the routing rules treat records: audio measures, conditions, and the chosen plan.

    Nothing is transcribed. Where a choice depends on the language, the one without it is shown,
    and the model that would be asked. For models that pad clips, as Whisper does, the seconds that
    they compute are shown. Ends with a summary by rule. Exits with 3 if a record or its audio is
    invalid. With --json, prints one line for each record, and no summary.
    """
    from schemas.settings import load_settings
    from workers.manifests.explanation import explain_file
    from workers.manifests.files import joined

    settings = load_settings(settings_file)
    faulty = False
    console, summary = people_console(), RuleSummary()
    try:
        for each in explain_file(joined(records), settings):
            faulty |= each.error is not None
            if as_json:
                print_json(_figures(each))
                continue
            _show(each, console)
            if each.choice is not None:
                summary.add(each.choice.rule, each.choice.target)
            else:
                summary.add("none", "error")
    except BrokenPipeError:
        raise
    except OSError as error:
        fail(fault_of(error), exit_codes.SETTINGS)
    if not summary:
        print(f"{joined(records)}: has no records", file=sys.stderr)
    elif not as_json:
        console.print(summary.table(settings, console))
    if faulty:
        sys.exit(exit_codes.PARTIAL)


def _figures(each: Explanation) -> dict[str, Any]:
    if each.choice is None:
        return {"id": each.id, "error": each.error}
    return {
        "id": each.id,
        **({} if each.channel is None else {"channel": each.channel}),
        "plan": each.choice.target,
        "rule": each.choice.rule,
        "values": each.choice.values,
        "measures": each.measures,
        "costs": each.costs,
        **({} if each.asks is None else {"asks": each.asks}),
    }


def _show(each: Explanation, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    from schemas.settings import LANGUAGE_MEASURES

    if each.choice is None:
        console.print(Text.assemble((each.id, "bold"), "  ", (str(each.error), "red"), "\n"))
        return
    console.print(
        Text.assemble(
            (each.id, "bold"),
            "" if each.channel is None else f"  channel {each.channel}",
            "  ",
            (each.choice.target, "cyan"),
            f", by rule {each.choice.rule}",
            f", if {each.asks} hears no language that changes it" if each.asks else "",
        )
    )
    measures = (f"{name.removeprefix('audio.')} {value:g}" for name, value in each.measures.items())
    console.print(Text("  " + "   ".join(measures), "dim"))
    seconds = each.measures["audio.seconds"]
    padded = [f"{name} computes {cost:g} s" for name, cost in each.costs.items() if cost > seconds]
    if padded:
        console.print(Text("  " + "   ".join(padded), "dim"))
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for tried in each.tried:
        value = "no value" if tried.value is None else repr(tried.value)
        if each.asks is not None and tried.condition.field in LANGUAGE_MEASURES:
            value = f"{each.asks} is asked"
        table.add_row(
            Text("  holds" if tried.holds else "  not", "green" if tried.holds else "dim"),
            Text(tried.rule),
            Text(_describe(tried.condition)),
            Text(value, "" if tried.holds else "dim"),
        )
    if each.tried:
        console.print(table)
    console.print()


def _describe(condition: Condition) -> str:
    from schemas.settings import TESTS

    test = next(test for test in TESTS if getattr(condition, test) is not None)
    limit = getattr(condition, test)
    shown = f"{limit:g}" if isinstance(limit, float) else repr(limit)
    return f"{condition.field} {test.replace('_', ' ')} {shown}"
