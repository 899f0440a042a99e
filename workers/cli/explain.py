"""`chorus explain`: which plan or model would transcribe a record, and why."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers import exit_codes
from workers.cli.common import DEFAULT_SETTINGS, JsonOption, SettingsOption, fail, print_json

if TYPE_CHECKING:
    from schemas.settings import Condition
    from workers.explanation import Explanation


def explain(
    records: Annotated[
        Path, typer.Argument(metavar="RECORD", help="A record as JSON, or a manifest.")
    ],
    settings_file: SettingsOption = DEFAULT_SETTINGS,
    as_json: JsonOption = False,
) -> None:
    """Show what the rules make of records, without transcribing: measures, conditions, choice.

    Exits with 3 if a record or its audio is not right. With --json a line for each record.
    """
    from schemas.settings import load_settings
    from workers.explanation import explain_file

    settings = load_settings(settings_file)
    settings.audio.roots.append(str(records.resolve().parent))
    faulty = False
    try:
        for each in explain_file(records, settings):
            faulty |= each.error is not None
            if as_json:
                print_json(_figures(each))
            else:
                _show(each)
    except BrokenPipeError:
        raise
    except OSError as error:
        fail(f"{records}: {error.strerror}", exit_codes.SETTINGS)
    if faulty:
        sys.exit(exit_codes.PARTIAL)


def _figures(each: Explanation) -> dict[str, Any]:
    if each.choice is None:
        return {"id": each.id, "error": each.error}
    return {
        "id": each.id,
        "plan": each.choice.target,
        "rule": each.choice.rule,
        "values": each.choice.values,
        "measures": each.measures,
    }


def _show(each: Explanation) -> None:
    if each.choice is None:
        print(f"{each.id}: {each.error}\n")
        return
    print(f"{each.id}: {each.choice.target}, by rule {each.choice.rule}")
    print("  " + ", ".join(f"{name} {value:g}" for name, value in each.measures.items()))
    for tried in each.tried:
        held = "holds" if tried.holds else "does not hold"
        value = "there is none" if tried.value is None else repr(tried.value)
        print(f"  {tried.rule}: {_told(tried.condition)} {held}: {value}")
    print()


def _told(condition: Condition) -> str:
    from schemas.settings import TESTS

    test = next(test for test in TESTS if getattr(condition, test) is not None)
    return f"{condition.field} {test} {getattr(condition, test)!r}"
