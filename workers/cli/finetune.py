"""`chorus finetune`: teach a model a domain."""

from __future__ import annotations

import re
import sys
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers import exit_codes
from workers.cli.common import JsonOption, fail, print_json

if TYPE_CHECKING:
    from schemas.model_card import ModelCard, Wer
    from workers.finetune.callbacks import Round

Manifests = list[Path]


def finetune(
    base: Annotated[
        Path,
        typer.Argument(help="A .nemo file; or `small`, or a .yaml, to train from nothing."),
    ],
    train: Annotated[Manifests, typer.Option(help="NeMo manifest to learn from; repeatable.")],
    validation: Annotated[Path, typer.Option(help="Manifest to watch the training on.")],
    domain: Annotated[str, typer.Option(help="What the model is for: medical, legal, ...")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of models.")] = Path(
        "models"
    ),
    name: Annotated[
        str | None, typer.Option(help="Of the model; the domain's if left out.")
    ] = None,
    mix: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MANIFEST=SHARE",
            help="Other data against forgetting: general.jsonl=0.1; repeatable.",
        ),
    ] = None,
    test: Annotated[
        Manifests | None, typer.Option(help="Manifest to measure on only; repeatable.")
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes through the training data.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Time to train for.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps.")] = None,
    learning_rate: Annotated[float, typer.Option("--learning-rate", "--lr", help="Peak.")] = 1e-3,
    batch_seconds: Annotated[float, typer.Option(help="Padded seconds in a batch.")] = 48.0,
    check_every: Annotated[
        int, typer.Option(help="Steps between checkpoints, each with a WER.")
    ] = 250,
    patience: Annotated[
        int | None, typer.Option(help="Stop after so many checks without a better WER.")
    ] = None,
    new_vocabulary: Annotated[
        int | None, typer.Option(metavar="PIECES", help="New tokens, from the training texts.")
    ] = None,
    preprocessor: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Other features than the base's: normalize=all_features for clips of a word.",
        ),
    ] = None,
    plain_texts: Annotated[
        bool, typer.Option("--plain-texts", help="Learn lower case without punctuation.")
    ] = False,
    speed: Annotated[
        float, typer.Option(help="Play clips up to this much faster or slower (0.1 is 10%).")
    ] = 0.0,
    tempo: Annotated[
        float, typer.Option(help="Speak up to this much faster or slower, the voice as it was.")
    ] = 0.0,
    rooms: Annotated[float, typer.Option(help="Part of the clips heard in a room.")] = 0.0,
    equaliser: Annotated[
        float, typer.Option(help="Another microphone each time: deviation of its response, in dB.")
    ] = 0.0,
    silence: Annotated[
        float, typer.Option(help="Seconds of silence, at most, put at either end of a clip.")
    ] = 0.2,
    noise: Annotated[float, typer.Option(help="Part of the clips that get noise.")] = 1.0,
    lowest_snr: Annotated[float, typer.Option(help="Of that noise, in dB.")] = 25.0,
    coloured: Annotated[
        bool, typer.Option("--coloured", help="The noise may be pink or brown too.")
    ] = False,
    short_first: Annotated[
        int, typer.Option(help="First steps on short clips only, for a model from nothing.")
    ] = 0,
    max_seconds: Annotated[float, typer.Option(help="Longest utterance to learn from.")] = 30.0,
    devices: Annotated[int, typer.Option(help="GPUs, or processes on a CPU.")] = 1,
    accelerator: Annotated[str, typer.Option(help="auto, cpu or gpu.")] = "auto",
    precision: Annotated[
        str, typer.Option(help="auto (bfloat16 on a GPU), 32-true, bf16-mixed, 16-mixed.")
    ] = "auto",
    half_precision: Annotated[
        bool, typer.Option("--half-precision", help="Store the weights with 16 bits.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of data order and augmentation.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Fine-tune a model for a domain; the result is a new version, ready to serve.

    Killed or interrupted, run the same command again: it goes on from its last checkpoint. The
    version is OUTPUT/NAME/NUMBER with `model.nemo` and its `card.json`. The last line printed is
    one JSON object with the figures. Exits with 2 when the manifests or the options are not
    right; all faults of the manifests are listed before anything is trained.
    """
    budget = {"epochs": epochs, "minutes": minutes, "steps": steps}
    if sum(value is not None for value in budget.values()) != 1:
        fail("give one of --epochs, --minutes and --steps", exit_codes.SETTINGS)
    from schemas.settings import NAME_PATTERN

    name = name or domain
    if not re.fullmatch(NAME_PATTERN, name):
        fail(f"a model cannot be called {name!r}: use a-z, 0-9, _ . -", exit_codes.SETTINGS)
    warnings.filterwarnings("ignore")  # of libraries; none of them is for the user
    from serve_app.engines.errors import EngineError
    from workers.finetune.augmentation import Augmentation
    from workers.finetune.hyperparameters import Hyperparameters
    from workers.finetune.job import finetune, is_first
    from workers.finetune.models import SMALL
    from workers.finetune.plan import Job, Mix
    from workers.finetune.versions import RunError
    from workers.speech import ManifestFaultsError

    job = Job(
        name=name,
        domain=domain,
        base=SMALL if str(base) == "small" else base,
        train=train,
        mix=[Mix(*each) for each in map(_mix, mix or [])],
        validation=validation,
        tests=test or [],
        output=output,
        **budget,  # type: ignore[arg-type]
        pieces=new_vocabulary,
        preprocessor=dict(map(_setting, preprocessor or [])),
        plain_texts=plain_texts,
        max_seconds=max_seconds,
        half_precision=half_precision,
        hyper=Hyperparameters(
            learning_rate=learning_rate,
            batch_seconds=batch_seconds,
            round_steps=check_every,
            patience=patience,
            short_steps=short_first,
            augmentation=Augmentation(
                speed=speed,
                tempo=tempo,
                rooms=rooms,
                equaliser=equaliser,
                silence=silence,
                noise=noise,
                lowest_snr=lowest_snr,
                coloured=coloured,
            ),
            seed=seed,
        ),
        devices=devices,
        accelerator=accelerator,
        precision=precision,
    )
    try:
        with _Screen(silent=as_json or not is_first()) as screen:
            made = finetune(job, watcher=screen, say=screen.say)
    except ManifestFaultsError as error:
        _list_faults(error, as_json)
    except (RunError, EngineError, ValueError) as error:
        fail(str(error), exit_codes.SETTINGS)
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}", exit_codes.SETTINGS)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        raise
    if made is not None:
        _summary(*made, as_json)


class _Screen:
    """Shows how a training goes: a bar in a terminal, a line a round elsewhere."""

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

    def step(self, progress: float, loss: float) -> None:
        self._bar.update(self._task, completed=progress, loss=f"loss {loss:.2f}")

    def round(self, result: Round) -> None:
        if not self._silent:
            self._bar.console.print(
                f"  step {result.step:6}  {100 * result.progress:3.0f}%  loss {result.loss:7.3f}  "
                f"WER {result.wer:6.2f}%  learning rate {result.learning_rate:.1e}"
            )


def _mix(text: str) -> tuple[Path, float]:
    path, _, share = text.rpartition("=")
    try:
        part = float(share)
    except ValueError:
        part = 0.0
    if not path or not 0 < part < 1:
        fail(f"--mix {text}: give MANIFEST=SHARE with a share between 0 and 1", exit_codes.SETTINGS)
    return Path(path), part


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
    fail(f"{len(error.faults)} faults in the manifests; nothing was trained", exit_codes.SETTINGS)


def _summary(card: ModelCard, folder: Path, as_json: bool) -> None:
    from workers.finetune.versions import MODEL

    figures = {
        "name": card.name,
        "version": card.version,
        "path": str(folder / MODEL),
        "wer_before": card.validation.before,
        "wer_after": card.validation.after,
        "tests": {_name(test): {"before": test.before, "after": test.after} for test in card.tests},
        "steps": card.steps,
        "seconds": card.seconds,
        "stopped": card.stopped,
        "sha256": card.sha256,
    }
    if not as_json:
        for wer in (card.validation, *card.tests):
            before = "" if wer.before is None else f"{wer.before:.2f}% before, "
            what = f"{_name(wer)} ({wer.data.utterances} utterances)"
            print(f"WER on {what}: {before}{wer.after:.2f}% after")
        print(f"{card.name}:{card.version} is in {folder}, ready to serve")
    print_json(figures)


def _name(wer: Wer) -> str:
    return next(iter(wer.data.manifests))
