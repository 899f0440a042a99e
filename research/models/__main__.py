"""`python -m research.models`: train the demo models.

`all` makes everything from scratch, `one` a single model. An interrupted run resumes from its last
checkpoint; finished models are not trained again.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from deploy.demo import MODELS
from research import CACHE
from research.corpus import CORPUS
from research.training import environment

TRAININGS = CACHE / "models"

app = typer.Typer(add_completion=False, help=__doc__)


@app.command("all")
def make_all(
    jobs: Annotated[int, typer.Option(help="Concurrent trainings, one thread each.")] = 2,
) -> None:
    """Make the corpus, the base model, and the five models that the project ships."""
    from research.models.recipes import BASE, SHIPPED

    _run("research.corpus", "make")
    _run("research.models", "one", BASE)
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(lambda name: _run("research.models", "one", name), SHIPPED))
    for name in SHIPPED:
        ship(TRAININGS / name / "1", MODELS, name)


@app.command()
def one(
    name: Annotated[str, typer.Argument(help="Name of a recipe: base, general, medical, ...")],
    corpus: Annotated[
        Path, typer.Option(help="Folder of the corpus, from `python -m research.corpus`.")
    ] = CORPUS,
    models: Annotated[Path, typer.Option(help="Folder for the models.")] = TRAININGS,
) -> None:
    """Train one model, as MODELS/NAME/1."""
    import torch

    from research.models.recipes import demo_recipe
    from workers.finetune.callbacks import Round
    from workers.finetune.job import finetune

    class Lines:
        """Prints one line per evaluation round."""

        def step(self, progress: float, loss: float) -> None:
            pass

        def round(self, result: Round) -> None:
            typer.echo(f"{name}: {json.dumps(asdict(result))}")

    if (models / name / "1").exists():
        typer.echo(f"{name}: already trained")
        return
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    finetune(
        demo_recipe(name, corpus, models),
        watcher=Lines(),
        say=lambda step: typer.echo(f"{name}: {step}"),
    )


def ship(version: Path, models: Path, name: str) -> None:
    """Copy the model and card of a version to ``MODELS/NAME.nemo`` and ``MODELS/NAME.json``."""
    from serve_app.registry.versions import CARD, MODEL

    models.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(version / MODEL, models / f"{name}.nemo")
    shutil.copyfile(version / CARD, models / f"{name}.json")


def _run(module: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", module, *arguments], env=environment(), check=True)


if __name__ == "__main__":
    app()
