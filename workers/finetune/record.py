"""A recipe as it is written down: in the card of the model, and in the folder of its training.

Both formats are older than the recipe, so a few keys have other names than its fields.
"""

from __future__ import annotations

from typing import Any

import msgspec

from serve_app.system.files import sha256_of
from workers.finetune.recipe import BUDGET, Augmentation, Recipe
from workers.manifests.files import manifest_sha256

#: Keys of how to train, in their order, with the fields that they stand for.
_TRAINING = {
    "learning_rate": "learning_rate",
    "warm_up": "warm_up",
    "weight_decay": "weight_decay",
    "gradient_clip": "gradient_clip",
    "batch_seconds": "batch_seconds",
    "round_steps": "check_every",
    "patience": "patience",
    "short_steps": "short_first",
    "seed": "seed",
}


def hyperparameters_of(recipe: Recipe) -> dict[str, Any]:
    """What the card of the model says of how it was trained."""
    budget = {key: getattr(recipe, key) for key in BUDGET}
    return {
        **_training_of(recipe),
        **_augmentation_of(recipe),
        **{key: value for key, value in budget.items() if value is not None},
        "pieces": recipe.new_vocabulary,
        **{f"preprocessor.{key}": value for key, value in recipe.preprocessor.items()},
    }


def run_of(recipe: Recipe) -> dict[str, Any]:
    """What a training must have in common with an unfinished one to go on from it; JSON-ready.

    Raises:
        OSError: the base or a manifest cannot be read.
    """
    return {
        "base": sha256_of(recipe.base),
        "train": [manifest_sha256(manifest) for manifest in recipe.train],
        "mix": [[manifest_sha256(mix.manifest), mix.share, mix.limit] for mix in recipe.mix],
        "validation": manifest_sha256(recipe.validation),
        "budget": [getattr(recipe, key) for key in BUDGET],
        "pieces": recipe.new_vocabulary,
        "preprocessor": recipe.preprocessor,
        "vocabulary": [manifest_sha256(manifest) for manifest in recipe.vocabulary],
        "plain_texts": recipe.plain_texts,
        "hyperparameters": {
            **_training_of(recipe),
            "augmentation": _augmentation_of(recipe),
        },
        "devices": recipe.devices,
    }


def _training_of(recipe: Recipe) -> dict[str, Any]:
    return {key: getattr(recipe, field) for key, field in _TRAINING.items()}


def _augmentation_of(recipe: Recipe) -> dict[str, Any]:
    names = [field.name for field in msgspec.structs.fields(Augmentation)]
    return {name: getattr(recipe, name) for name in names}
