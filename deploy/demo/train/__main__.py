"""`python -m deploy.demo.train`: make the demo models.

`all` makes everything from nothing, `one` a single model. Each run resumes from its last
checkpoint, and what is made already is not made again.
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

from deploy.demo import CACHE, MODELS
from deploy.demo.corpus import CORPUS
from deploy.training import environment

TRAININGS = CACHE / "models"

app = typer.Typer(add_completion=False, help=__doc__)


@app.command("all")
def make_all(
    jobs: Annotated[int, typer.Option(help="Trainings at a time, one thread each.")] = 2,
) -> None:
    """The corpus, the base model, and the five models that the project ships."""
    from deploy.demo.train.recipes import BASE, SHIPPED

    _run("deploy.demo.corpus", "make")
    _run("deploy.demo.train", "one", BASE)
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(lambda name: _run("deploy.demo.train", "one", name), SHIPPED))
    for name in SHIPPED:
        ship(TRAININGS / name / "1", MODELS, name)


@app.command()
def one(
    name: Annotated[str, typer.Argument(help="A recipe: base, general, medical, ...")],
    corpus: Annotated[Path, typer.Option(help="Made by `python -m deploy.demo.corpus`.")] = CORPUS,
    models: Annotated[Path, typer.Option(help="Folder of versions.")] = TRAININGS,
) -> None:
    """Train one model; its first version is in MODELS/NAME/1 then."""
    import torch

    from deploy.demo.train.recipes import job
    from workers.finetune.callbacks import Round
    from workers.finetune.job import finetune

    class Lines:
        """A line a round."""

        def step(self, progress: float, loss: float) -> None:
            pass

        def round(self, result: Round) -> None:
            typer.echo(f"{name}: {json.dumps(asdict(result))}")

    if (models / name / "1").exists():
        typer.echo(f"{name}: is there already")
        return
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    finetune(
        job(name, corpus, models),
        watcher=Lines(),
        say=lambda doing: typer.echo(f"{name}: {doing}"),
    )


def ship(version: Path, models: Path, name: str) -> None:
    """Copy a version to `models`, as ``NAME.nemo`` and ``NAME.json``."""
    from workers.finetune.versions import CARD, MODEL

    models.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(version / MODEL, models / f"{name}.nemo")
    shutil.copyfile(version / CARD, models / f"{name}.json")


def _run(module: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", module, *arguments], env=environment(), check=True)


if __name__ == "__main__":
    app()
