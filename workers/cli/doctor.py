"""`chorus doctor`: does a model, or the whole installation, work?"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workers import exit_codes
from workers.cli.common import JsonOption, OptionalSettings, fail, print_json
from workers.cli.evaluation import MODEL_HELP, SkipOption, errors_for_people, settings_of

if TYPE_CHECKING:
    from schemas.settings import Settings
    from workers.doctor.finding import Finding

_MARKS = {"ok": "ok", "warning": "warning", "failure": "FAILED"}


def doctor(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help=f"{MODEL_HELP} Without it, the whole installation is examined.",
            show_default=False,
        ),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            "--manifest",
            "-m",
            help="Speech with references for MODEL, of which the first 50 lines are taken. "
            "Default: shipped clips of synthetic English.",
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Another model to compare MODEL with: a WER that is more than "
            "`validation.max_wer_increase` points higher (5 unless set), or a speed below "
            "`validation.min_speed_ratio` of its speed (0.5 unless set), is a failure.",
        ),
    ] = None,
    skip_faults: SkipOption = False,
    settings_file: OptionalSettings = None,
    as_json: JsonOption = False,
) -> None:
    """Examine a model, or the whole installation: what works, what does not, why, what to do.

    MODEL is loaded in a process of its own and transcribes a few seconds of speech. Without it,
    libraries, disks, memory, GPUs, ports, Kafka and the registry are examined against the settings;
    nothing is started. Exits with 0 if nothing failed, 1 if something did, 2 if the settings or a
    name are wrong.
    """
    if model is None and (manifest or baseline):
        fail("--manifest and --baseline are for a MODEL: name one", exit_codes.SETTINGS)
    settings = settings_of(settings_file, None if model is None else [model, baseline or model])
    if model is None:
        from workers.doctor.installation import examine_installation

        found = examine_installation(settings)
    else:
        found = _of_model(model, settings, baseline, manifest, skip_faults)
    if not _report(found, as_json):
        sys.exit(exit_codes.FAILURE)


def _of_model(
    model: str,
    settings: Settings | None,
    baseline: str | None,
    manifest: Path | None,
    skip_faults: bool,
) -> Iterator[Finding]:
    print(f"loading {model} in a process of its own ...", file=sys.stderr)
    with errors_for_people():
        from workers.doctor.model import examine_model

        yield from examine_model(
            model,
            baseline=baseline,
            manifest=manifest,
            skip_faults=skip_faults,
            settings=settings,
        )


def _report(findings: Iterable[Finding], as_json: bool) -> bool:
    """Print findings as they come, and then what to do; returns whether nothing failed."""
    bad = []
    for each in findings:
        if each.state != "ok":
            bad.append(each)
        if as_json:
            _print_as_json(each)
        else:
            print(f"{_MARKS[each.state]:8} {each.name:18} {each.said}", flush=True)
    if not as_json:
        for each in bad:
            print(f"\n{each.name}: {each.said}")
            if each.cause:
                print(f"  likely cause: {each.cause}")
            print(f"  next: {each.next}")
        if bad:
            print(f"\n{_summary(bad)}")
    return all(each.state != "failure" for each in bad)


def _print_as_json(finding: Finding) -> None:
    import msgspec

    print_json(msgspec.to_builtins(finding))


def _summary(bad: list[Finding]) -> str:
    failed = sum(each.state == "failure" for each in bad)
    warned = len(bad) - failed
    return f"{failed} failed, {warned} warning{'' if warned == 1 else 's'}"
