"""`chorus finetune`: teach a model a domain."""

from __future__ import annotations

import sys
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import msgspec
import typer

from workers import exit_codes
from workers.cli.common import JsonOption, fail, fault_of, print_json
from workers.finetune.recipe import Recipe, RecipeError, check_base, load_recipe

if TYPE_CHECKING:
    from schemas.model_card import ModelCard, Wer
    from workers.finetune.callbacks import Round

Manifests = list[Path]
_HINTS = get_type_hints(Recipe, include_extras=True)
_DEFAULTS = {each.name: each.default for each in msgspec.structs.fields(Recipe)}


def _help(field: str) -> dict[str, Any]:
    """What the recipe says of `field`, as keywords of an option."""
    (meta,) = _HINTS[field].__metadata__
    # the option itself has no default: it must be told apart from one that repeats the default
    known = _DEFAULTS[field] not in (msgspec.NODEFAULT, None, False, "")
    default = f" Default: {_DEFAULTS[field]}." if known else ""
    return {"help": meta.description + default, "show_default": False}


def finetune(
    base: Annotated[Path | None, typer.Argument(**_help("base"))] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(help="YAML or JSON file with any of these options; the command line wins."),
    ] = None,
    train: Annotated[Manifests | None, typer.Option(**_help("train"))] = None,
    validation: Annotated[Path | None, typer.Option(**_help("validation"))] = None,
    domain: Annotated[str | None, typer.Option(**_help("domain"))] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", **_help("output"))] = None,
    name: Annotated[str | None, typer.Option(**_help("name"))] = None,
    mix: Annotated[list[str] | None, typer.Option(metavar="MANIFEST=SHARE", **_help("mix"))] = None,
    test: Annotated[Manifests | None, typer.Option(**_help("test"))] = None,
    epochs: Annotated[float | None, typer.Option(**_help("epochs"))] = None,
    minutes: Annotated[float | None, typer.Option(**_help("minutes"))] = None,
    steps: Annotated[int | None, typer.Option(**_help("steps"))] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", "--lr", **_help("learning_rate"))
    ] = None,
    batch_seconds: Annotated[float | None, typer.Option(**_help("batch_seconds"))] = None,
    check_every: Annotated[int | None, typer.Option(**_help("check_every"))] = None,
    patience: Annotated[int | None, typer.Option(**_help("patience"))] = None,
    new_vocabulary: Annotated[
        int | None, typer.Option(metavar="PIECES", **_help("new_vocabulary"))
    ] = None,
    preprocessor: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", **_help("preprocessor"))
    ] = None,
    plain_texts: Annotated[bool | None, typer.Option(**_help("plain_texts"))] = None,
    speed: Annotated[float | None, typer.Option(**_help("speed"))] = None,
    tempo: Annotated[float | None, typer.Option(**_help("tempo"))] = None,
    rooms: Annotated[float | None, typer.Option(**_help("rooms"))] = None,
    equaliser: Annotated[float | None, typer.Option(**_help("equaliser"))] = None,
    silence: Annotated[float | None, typer.Option(**_help("silence"))] = None,
    noise: Annotated[float | None, typer.Option(**_help("noise"))] = None,
    lowest_snr: Annotated[float | None, typer.Option(**_help("lowest_snr"))] = None,
    coloured: Annotated[bool | None, typer.Option(**_help("coloured"))] = None,
    short_first: Annotated[int | None, typer.Option(**_help("short_first"))] = None,
    max_seconds: Annotated[float | None, typer.Option(**_help("max_seconds"))] = None,
    devices: Annotated[int | None, typer.Option(**_help("devices"))] = None,
    accelerator: Annotated[str | None, typer.Option(**_help("accelerator"))] = None,
    precision: Annotated[str | None, typer.Option(**_help("precision"))] = None,
    half_precision: Annotated[bool | None, typer.Option(**_help("half_precision"))] = None,
    seed: Annotated[int | None, typer.Option(**_help("seed"))] = None,
    as_json: JsonOption = False,
) -> None:
    """Fine-tune a model for a domain; the result is a new version, ready to serve.

    After an interruption, run the same command again: it resumes from its last checkpoint. The
    version is OUTPUT/NAME/NUMBER with `model.nemo` and its `model.json`. The last line printed is
    one JSON object with the figures. Exits with 2 if the manifests or the options are invalid; all
    faults of the manifests are listed before anything is trained. Exits with 9 if the new version
    is not better than its base on the validation data.

    BASE, a training and a validation manifest, a domain and one of --epochs, --minutes and --steps
    are needed, as options or in the recipe.
    """
    options = {key: value for key, value in locals().items() if key in _HINTS}
    options = {key: value for key, value in options.items() if value not in (None, [])}
    if mix:
        options["mix"] = [_mix(each) for each in mix]
    if preprocessor:
        options["preprocessor"] = dict(map(_setting, preprocessor))
    try:
        chosen = load_recipe(recipe, options)
        check_base(chosen.base)
    except RecipeError as error:
        fail(str(error), exit_codes.SETTINGS)
    warnings.filterwarnings("ignore")  # of libraries; none of them is for the user
    from serve_app.engines.errors import EngineError
    from workers.finetune.job import finetune, has_checkpoint, is_first
    from workers.finetune.unfinished import RunError
    from workers.manifests.speech import ManifestFaultsError

    try:
        with _Screen(silent=as_json or not is_first()) as screen:
            made = finetune(
                chosen, watcher=screen, say=screen.say, measured_base=screen.measured_base
            )
    except ManifestFaultsError as error:
        _list_faults(error, as_json)
    except (RunError, EngineError, ValueError) as error:
        fail(str(error), exit_codes.SETTINGS)
    except OSError as error:
        fail(fault_of(error), exit_codes.SETTINGS)
    except KeyboardInterrupt:
        begun = has_checkpoint(chosen)
        where = (
            "resumes from the last checkpoint" if begun else "begins anew: there is no checkpoint"
        )
        print(f"interrupted; the same command {where}", file=sys.stderr)
        raise
    if made is not None:
        _summary(*made, as_json)


class _Screen:
    """Shows the progress of a training: a bar in a terminal, elsewhere a line for each round."""

    def __init__(self, silent: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._silent = silent
        console = Console(stderr=True, highlight=False)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[loss]}"),
        )
        self._bar = Progress(*columns, console=console, disable=silent or not console.is_terminal)
        self._task = self._bar.add_task("", total=1.0, loss="", visible=False)

    def __enter__(self) -> _Screen:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def say(self, doing: str) -> None:
        self._bar.update(self._task, description=doing, visible=doing == "training")
        if not self._silent:
            self._bar.console.print(f"{doing} ...")

    def measured_base(self, wer: float) -> None:
        if not self._silent:
            self._bar.console.print(f"  the base                           WER {wer:6.2f}%")

    def step(self, progress: float, loss: float) -> None:
        self._bar.update(self._task, completed=progress, loss=f"loss {loss:.2f}")

    def round(self, result: Round) -> None:
        if not self._silent:
            self._bar.console.print(
                f"  step {result.step:6}  {100 * result.progress:3.0f}%  loss {result.loss:7.3f}  "
                f"WER {result.wer:6.2f}%  learning rate {result.learning_rate:.1e}"
            )


def _mix(text: str) -> dict[str, Any]:
    path, _, share = text.rpartition("=")
    try:
        part = float(share)
    except ValueError:
        part = 0.0
    if not path or not 0 < part < 1:
        fail(f"--mix {text}: give MANIFEST=SHARE with a share between 0 and 1", exit_codes.SETTINGS)
    return {"manifest": Path(path), "share": part}


def _setting(text: str) -> tuple[str, Any]:
    import yaml

    key, equals, value = text.partition("=")
    if not key or not equals:
        fail(f"--preprocessor {text}: give KEY=VALUE", exit_codes.SETTINGS)
    return key, yaml.safe_load(value)


def _list_faults(error: Any, as_json: bool) -> None:
    if as_json:
        print_json({"faults": [asdict(fault) for fault in error.faults]})
    else:
        print(error, file=sys.stderr)
    count = len(error.faults)
    faults = "1 fault" if count == 1 else f"{count} faults"
    fail(f"{faults} in the manifests; nothing was trained", exit_codes.SETTINGS)


def _summary(card: ModelCard, folder: Path, as_json: bool) -> None:
    from serve_app.registry.versions import MODEL

    validation = card.validation
    if validation is None:
        raise RuntimeError("the card of a training has no validation")
    figures = {
        "name": card.name,
        "version": card.version,
        "path": str(folder / MODEL),
        "wer_before": validation.before,
        "wer_after": validation.after,
        "better": validation.better,
        "tests": {_name(test): {"before": test.before, "after": test.after} for test in card.tests},
        "steps": card.steps,
        "seconds": card.seconds,
        "stopped": card.stopped,
        "sha256": card.sha256,
    }
    if not as_json:
        for wer in (validation, *card.tests):
            before = "" if wer.before is None else f"{wer.before:.2f}% before, "
            what = f"{_name(wer)} ({wer.data.utterances} utterances)"
            print(f"WER on {what}: {before}{wer.after:.2f}% after")
        ready = ", ready to serve" if validation.better is not False else ""
        print(f"{card.name}:{card.version} is in {folder}{ready}")
    print_json(figures)
    if validation.better is False:
        fail(
            f"{card.name}:{card.version} is not better than {card.base} on "
            f"{_name(validation)}; train on more speech of this domain, for another time, or "
            "with another --learning-rate",
            exit_codes.NOT_BETTER,
        )


def _name(wer: Wer) -> str:
    return next(iter(wer.data.manifests))
