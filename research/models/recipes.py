"""Recipes of the demo models: what each is trained on, and for how long."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serve_app.registry.versions import MODEL
from workers.finetune.recipe import DEFAULT_PIECES, SMALL, Mix, Recipe

#: The models that the project ships; each has the name of its test set.
SHIPPED = ("general", "medical", "legal", "telephony", "noisy")
#: The model that the others are fine-tuned from.
BASE = "base"

#: Sets whose texts the tokenizer is trained on; all models share it.
_VOCABULARY = ("general", "medical", "legal")
#: A little of each domain: the general model knows some of it, and fails on much of the rest.
_A_LITTLE = (("medical", 0.09, 1500), ("legal", 0.09, 1500))

# all five have the same budget: otherwise a comparison of the models would compare budgets
_FINE_TUNING = {"steps": 4000, "learning_rate": 1.6e-3}
_FROM_SCRATCH = {"steps": 5000, "learning_rate": 2.5e-3, "warm_up": 0.096, "short_first": 300}

#: What each model is trained on besides its own set: further sets, the share of each, and the most
#: utterances of it.
_MIX: dict[str, Sequence[tuple[str, float, int | None]]] = {
    BASE: _A_LITTLE,
    # the base has seen more of the domains; with too much of them, domain models would not differ
    "general": [("medical", 0.04, 500), ("legal", 0.04, 500)],
    "medical": [("general", 0.08, None)],
    "legal": [("general", 0.08, None)],
    "telephony": [("general", 0.05, None)],
    "noisy": [("general", 0.05, None)],
}


def demo_recipe(name: str, corpus: Path, models: Path) -> Recipe:
    """The recipe of a demo model.

    Args:
        name: name of the model, one of `SHIPPED` or `BASE`.
        corpus: folder of the corpus.
        models: folder that the model is written to, and that contains the base model.
    """
    fresh = name == BASE
    own = "general" if fresh else name
    options: dict[str, Any] = _FROM_SCRATCH if fresh else _FINE_TUNING
    return Recipe(
        name=name,
        domain=own,
        base=SMALL if fresh else models / BASE / "1" / MODEL,
        train=[corpus / "train" / f"{own}.jsonl"],
        mix=[
            Mix(manifest=corpus / "train" / f"{part}.jsonl", share=share, limit=limit)
            for part, share, limit in _MIX[name]
        ],
        validation=corpus / "dev" / f"{own}.jsonl",
        test=[corpus / "test" / f"{part}.jsonl" for part in SHIPPED],
        output=models,
        vocabulary=[corpus / "train" / f"{part}.jsonl" for part in _VOCABULARY] if fresh else [],
        new_vocabulary=DEFAULT_PIECES if fresh else None,
        half_precision=not fresh,
        accelerator="cpu",  # the same models wherever they are made
        **options,
    )
