"""The demo models: what each one learns from, and for how long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workers.finetune.hyperparameters import Hyperparameters
from workers.finetune.models import SMALL
from workers.finetune.plan import PIECES, Job, Mix
from workers.finetune.versions import MODEL

#: The models that the project ships; each is named as its test set is.
SHIPPED = ("general", "medical", "legal", "telephony", "noisy")
#: What the others go on from.
BASE = "base"

#: Sets whose texts the tokenizer, which all models share, is made from.
_VOCABULARY = ("general", "medical", "legal")
#: A little of each domain: a general model has heard of everything, and fails on half of it.
_A_LITTLE = (("medical", 0.09, 1500), ("legal", 0.09, 1500))

# all five have the same budget: with unequal ones a comparison of models compares budgets
_FINE_TUNING = Hyperparameters(learning_rate=1.6e-3)
_FINE_TUNING_STEPS = 4000


@dataclass(frozen=True)
class Recipe:
    """How a model is made.

    Attributes:
        train: the set that it learns most of.
        mix: further sets, with their shares and limits as in `workers.finetune.plan.Mix`.
        steps, hyper: as in `workers.finetune.plan.Job`.
    """

    train: str
    mix: Sequence[tuple[str, float, int | None]]
    steps: int = _FINE_TUNING_STEPS
    hyper: Hyperparameters = _FINE_TUNING


RECIPES = {
    BASE: Recipe(
        "general",
        _A_LITTLE,
        steps=5000,
        hyper=Hyperparameters(learning_rate=2.5e-3, warm_up=0.096, short_steps=300),
    ),
    # it has heard more of them on the way here; too much, and nobody would need a domain model
    "general": Recipe("general", [("medical", 0.04, 500), ("legal", 0.04, 500)]),
    "medical": Recipe("medical", [("general", 0.08, None)]),
    "legal": Recipe("legal", [("general", 0.08, None)]),
    "telephony": Recipe("telephony", [("general", 0.05, None)]),
    "noisy": Recipe("noisy", [("general", 0.05, None)]),
}


def job(name: str, corpus: Path, models: Path) -> Job:
    """The fine-tuning job of the recipe `name`, on the sets in `corpus`, into `models`."""
    recipe = RECIPES[name]
    fresh = name == BASE
    return Job(
        name=name,
        domain=recipe.train,
        base=SMALL if fresh else models / BASE / "1" / MODEL,
        train=[corpus / "train" / f"{recipe.train}.jsonl"],
        mix=[
            Mix(corpus / "train" / f"{part}.jsonl", share, limit)
            for part, share, limit in recipe.mix
        ],
        validation=corpus / "dev" / f"{recipe.train}.jsonl",
        tests=[corpus / "test" / f"{part}.jsonl" for part in SHIPPED],
        output=models,
        steps=recipe.steps,
        vocabulary=[corpus / "train" / f"{part}.jsonl" for part in _VOCABULARY] if fresh else [],
        pieces=PIECES if fresh else None,
        half_precision=not fresh,
        hyper=recipe.hyper,
        accelerator="cpu",  # the same models wherever they are made
    )
