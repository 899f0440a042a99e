"""The demo models: what each one learns from, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.demo.train.fit import Hyperparameters


@dataclass(frozen=True)
class Portion:
    """A share of a model's training utterances.

    Attributes:
        set: of the corpus.
        limit: the first so many utterances of the set; None means all.
    """

    set: str
    share: float
    limit: int | None = None


@dataclass(frozen=True)
class Recipe:
    """How a model is made.

    Attributes:
        base: the recipe whose model it starts from; None starts from nothing.
        portions: the training data; the first one is the main one.
        validation: the set whose `dev` split is watched.
    """

    base: str | None
    portions: tuple[Portion, ...]
    validation: str
    hyper: Hyperparameters


#: Pieces of the tokenizer, which all models share.
TOKENIZER_PIECES = 128

#: A little of each domain: a general model has heard of everything, and fails on half of it.
_A_LITTLE = (Portion("medical", 0.08, limit=1000), Portion("legal", 0.08, limit=1000))

# all five have the same budget: with unequal ones a comparison of models compares budgets
_FINE_TUNING = Hyperparameters(steps=3000, learning_rate=1.6e-3)


def _fine_tuned(validation: str, *portions: Portion) -> Recipe:
    return Recipe("base", portions, validation, _FINE_TUNING)


RECIPES = {
    "base": Recipe(
        base=None,
        portions=(Portion("general", 0.84), *_A_LITTLE),
        validation="general",
        hyper=Hyperparameters(
            steps=4000, schedule_steps=6000, learning_rate=2.5e-3, short_steps=300
        ),
    ),
    "general": _fine_tuned("general", Portion("general", 0.84), *_A_LITTLE),
    "medical": _fine_tuned("medical", Portion("medical", 0.92), Portion("general", 0.08)),
    "legal": _fine_tuned("legal", Portion("legal", 0.92), Portion("general", 0.08)),
    "telephony": _fine_tuned("telephony", Portion("telephony", 0.9), Portion("general", 0.1)),
    "noisy": _fine_tuned("noisy", Portion("noisy", 0.9), Portion("general", 0.1)),
}

#: The models that the project ships.
SHIPPED = ("general", "medical", "legal", "telephony", "noisy")
