"""`python -m deploy.demo.train`: make the demo models.

`all` makes everything from nothing, `one` a single model, `matrix` measures the shipped ones.
Each run resumes from its last checkpoint.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer

from deploy.demo.corpus import CACHE as CORPUS

MODELS = Path(__file__).parents[1] / "models"
RUNS = CORPUS.parent / "runs"

#: Trainings share the cores: idle threads must sleep, not spin. And glibc must keep the memory of
#: a step for the next one: giving it back costs more time than the step's arithmetic.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
    "GOMP_SPINCOUNT": "0",
    "MALLOC_TRIM_THRESHOLD_": "4000000000",
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TOP_PAD_": "500000000",
}

app = typer.Typer(add_completion=False, help=__doc__)
CorpusFolder = Annotated[Path, typer.Option(help="Made by `python -m deploy.demo.corpus make`.")]
RunsFolder = Annotated[Path, typer.Option(help="Folder of checkpoints and unshipped models.")]


@app.command("all")
def make_all(
    jobs: Annotated[int, typer.Option(help="Trainings at a time, one thread each.")] = 2,
) -> None:
    """The corpus, the base model, and the five models that the project ships."""
    from deploy.demo.train.recipes import SHIPPED

    _run("deploy.demo.corpus", "make")
    _run("deploy.demo.train", "one", "base")
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(lambda name: _run("deploy.demo.train", "one", name), SHIPPED))


@app.command()
def one(
    name: Annotated[str, typer.Argument(help="A recipe: base, general, medical, ...")],
    corpus: CorpusFolder = CORPUS,
    runs: RunsFolder = RUNS,
    models: Annotated[Path, typer.Option(help="Where shipped models go.")] = MODELS,
) -> None:
    """Train one model; measure a shipped one and write its card `NAME.json` beside `NAME.nemo`."""
    import torch

    from deploy.demo.train.card import make_card, write_card
    from deploy.demo.train.data import Source, read_clips
    from deploy.demo.train.fit import fit
    from deploy.demo.train.models import fresh_model, open_model, save_model
    from deploy.demo.train.recipes import RECIPES, SHIPPED, TOKENIZER_PIECES

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    recipe = RECIPES[name]
    torch.manual_seed(recipe.hyper.seed)  # a fresh model's first weights
    train = corpus / "train"
    if recipe.base is None:
        texts = [
            c.text
            for domain in ("general", "medical", "legal")
            for c in read_clips(train / f"{domain}.jsonl", 5000)
        ]
        model = fresh_model(texts, TOKENIZER_PIECES, runs / "tokenizer")
    else:
        model = open_model(runs / f"{recipe.base}.nemo")
    sources = [Source(train / f"{p.set}.jsonl", p.share, p.limit) for p in recipe.portions]
    fit(model, sources, corpus / "dev" / f"{recipe.validation}.jsonl", recipe.hyper, runs / name)

    if name not in SHIPPED:
        save_model(model, runs / f"{name}.nemo")
        return
    file = models / f"{name}.nemo"
    save_model(model, file)
    card = make_card(name, recipe, open_model(file), file, corpus)
    write_card(card, file.with_suffix(".json"))
    typer.echo(json.dumps(card))


@app.command()
def matrix(
    corpus: CorpusFolder = CORPUS,
    models: Annotated[Path, typer.Option(help="Folder of .nemo files.")] = MODELS,
) -> None:
    """WER in percent of every model on every test set; the last line is one JSON object."""
    from deploy.demo.train.data import read_clips
    from deploy.demo.train.evaluate import word_error_rate
    from deploy.demo.train.models import open_model

    tests = {path.stem: read_clips(path) for path in sorted((corpus / "test").glob("*.jsonl"))}
    wer: dict[str, dict[str, float]] = {}
    for path in sorted(models.glob("*.nemo")):
        model = open_model(path)
        wer[path.stem] = {set_: round(word_error_rate(model, tests[set_]), 1) for set_ in tests}
        typer.echo(f"{path.stem:12}" + "".join(f"{wer[path.stem][s]:12.1f}" for s in tests))
    typer.echo(json.dumps({"sets": {s: len(clips) for s, clips in tests.items()}, "wer": wer}))


def _run(module: str, *arguments: str) -> None:
    environment = {**os.environ, **ENVIRONMENT}
    subprocess.run([sys.executable, "-m", module, *arguments], env=environment, check=True)


if __name__ == "__main__":
    app()
