"""`chorus calibrate`: calibrate models' confidences, and choose how to combine the models."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from workers.cli.common import OptionalSettings, print_json
from workers.cli.evaluation import (
    MODEL_HELP,
    SkipOption,
    WorkOption,
    check_outputs,
    errors_for_people,
    interruption,
    progress_bars,
    read_sets,
    settings_of,
)


def calibrate(
    manifest: Annotated[
        list[str],
        typer.Option("--manifest", "-m", help="Manifest of labelled speech; repeatable."),
    ],
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL", help=f"{MODEL_HELP} Default: all models of the settings."),
    ] = None,
    settings_file: OptionalSettings = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write the calibration to.")
    ] = Path("calibration.json"),
    work: WorkOption = None,
    skip_faults: SkipOption = False,
) -> None:
    """Calibrate the models' confidences on labelled speech that resembles the real traffic.

    Name the file that it writes as `routing.calibration` in the settings. The last line of the
    output is one JSON object: the expected calibration error before and after, and the WER of each
    way to combine the models, both by cross-validation.
    """
    settings = settings_of(settings_file)
    with errors_for_people(interruption(work)):
        from workers.evaluation.calibration.calibrate import calibrate as run
        from workers.evaluation.results import write_json
        from workers.evaluation.systems.naming import as_systems
        from workers.manifests.destination import destination

        check_outputs([output], manifest)
        known = settings.models if settings is not None else {}
        # a wrong name is told before sets are read
        systems = as_systems(models or list(known), known)
        sets = read_sets(manifest, skip_faults, settings)
        with progress_bars() as bars:
            found = run(
                systems,
                sets,
                settings=known,
                folder=work,
                report=bars,
                say=lambda step: print(f"{step} ...", file=sys.stderr),
            )
        with destination(output) as place:
            write_json(found, place)
    print(f"wrote {output}: {len(found.models)} models, from {found.utterances} utterances")
    print_json(found.figures)
