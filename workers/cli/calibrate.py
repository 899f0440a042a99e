"""`chorus calibrate`: what models' confidences are worth, and how to combine the models."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from workers.cli.common import print_json
from workers.cli.evaluation import (
    MODEL_HELP,
    OptionalSettings,
    SkipOption,
    WorkOption,
    errors_for_people,
    progress_bars,
    read_sets,
    settings_of,
)


def calibrate(
    manifest: Annotated[
        list[str],
        typer.Option("--manifest", "-m", help="Labelled speech; repeatable."),
    ],
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL]...", help=f"{MODEL_HELP} All of the settings if left out."),
    ] = None,
    settings_file: OptionalSettings = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="File of the calibration.")] = Path(
        "calibration.json"
    ),
    work: WorkOption = None,
    skip_faults: SkipOption = False,
) -> None:
    """Learn what the models' confidences are worth from labelled speech that is like the traffic.

    Name the file as `routing.calibration` in the settings. The last line is one JSON object: the
    calibration error before and after, and the WER of each way to combine, on folds left out.
    """
    with errors_for_people():
        from workers.evaluation.calibrating import calibrate as run
        from workers.evaluation.results import write_json

        settings = settings_of(settings_file)
        known = settings.models if settings is not None else {}
        sets = read_sets(manifest, skip_faults)
        with progress_bars() as bars:
            found = run(
                models or list(known),
                sets,
                settings=known,
                folder=work,
                report=bars,
                say=lambda doing: print(f"{doing} ...", file=sys.stderr),
            )
        write_json(found, output)
    print(f"{output}: {len(found.models)} models, from {found.utterances} utterances")
    print_json(found.figures)
