"""One fine-tuning from manifests to a version that is ready to serve."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from msgspec.structs import replace
from omegaconf import DictConfig

from schemas.model_card import ModelCard
from schemas.settings import PRETRAINED
from serve_app.engines.nemo.pretrained import pretrained_file
from serve_app.registry.versions import MODEL
from workers.finetune.callbacks import PROGRESS, Watcher
from workers.finetune.card import make_card
from workers.finetune.fit import CHECKPOINT, fit
from workers.finetune.models import (
    change_preprocessor,
    fresh_model,
    open_model,
    preprocessor_config,
    save_model,
)
from workers.finetune.plan import Speech, budget_of, read_speech
from workers.finetune.recipe import DEFAULT_PIECES, Recipe
from workers.finetune.record import run_of
from workers.finetune.scoring import word_errors
from workers.finetune.unfinished import claim, finish_version, unfinished_version
from workers.finetune.vocabulary import Vocabulary, change_vocabulary
from workers.manifests.speech import ManifestFaultsError, check_manifest


def finetune(
    recipe: Recipe,
    *,
    watcher: Watcher | None = None,
    say: Callable[[str], None] = lambda _: None,
    measured_base: Callable[[float], None] = lambda _: None,
) -> tuple[ModelCard, Path] | None:
    """Train, measure and store a new version; blocks until that is done.

    Called again with the same recipe after it was killed, it goes on from the last checkpoint, with
    the data order that it would have had.

    Args:
        recipe: what to train, on what, for how long and how.
        watcher: told how the training goes.
        say: told what is being done.
        measured_base: told the WER of the base on the validation data, in percent, which the
            training is to better.

    Returns:
        The card and the folder of the new version. None in a process other than the first, where
        several train together.

    Raises:
        ManifestFaultsError: the manifests are not fit to learn from; it lists all their faults.
        RunError: ``output/name`` holds an unfinished training with other data or settings.
        EngineError: the base model cannot be downloaded or loaded.
        ValueError: the model cannot be trained on a CPU, a setting of the preprocessor is invalid,
            the shares are wrong, or the texts are too few for the requested vocabulary.
        OSError: a file cannot be read or written.
    """
    folder = unfinished_version(recipe.output, recipe.name)
    say(f"opening {recipe.base.name}")
    recipe = _with_file(recipe)
    fresh = recipe.base.suffix in (".yaml", ".yml")
    model = None if fresh else open_model(recipe.base)
    _check_trainable(recipe, model)
    features = _features(recipe, model) if recipe.preprocessor else None
    say("checking the manifests")
    keeps_vocabulary = model is not None and recipe.new_vocabulary is None
    speech = read_speech(recipe, Vocabulary(model) if keeps_vocabulary else None)
    budget = budget_of(recipe, speech)
    claim(folder, run_of(recipe))
    measured = [speech.validation, *speech.tests]
    before: list[float | None] = [None] * len(measured)
    if model is not None and is_first():
        say("measuring the base model")
        before = [word_errors(model, each).percent for each in measured]
        if before[0] is not None:
            measured_base(before[0])
    if not keeps_vocabulary:
        torch.manual_seed(recipe.seed)  # the first weights
        model = _with_new_vocabulary(recipe, model, speech, folder / "tokenizer")
    if features is not None:
        change_preprocessor(model, features)
    say("training")
    fitted = fit(
        model,
        [source for _, source in speech.sources],
        speech.validation,
        budget,
        recipe,
        folder,
        watcher=watcher,
    )
    if not is_first():
        return None
    say("measuring the new model")
    path = folder / MODEL
    save_model(model, path, half_precision=recipe.half_precision)
    stored = open_model(path)  # what will be served, rounded weights and all
    after = [word_errors(stored, each).percent for each in measured]
    card = make_card(recipe, speech, stored, fitted, list(zip(before, after, strict=True)))
    return finish_version(folder, card, keep=(PROGRESS,))


def has_checkpoint(recipe: Recipe) -> bool:
    """Whether there is an unfinished training that `finetune` would go on with."""
    return (unfinished_version(recipe.output, recipe.name) / CHECKPOINT).exists()


def _with_file(recipe: Recipe) -> Recipe:
    """The recipe with the file of its base, which is downloaded if it is a pretrained model."""
    base = str(recipe.base)
    if not base.startswith(PRETRAINED):
        return recipe
    return replace(recipe, base=pretrained_file(base.removeprefix(PRETRAINED)))


def _check_trainable(recipe: Recipe, model: Any) -> None:
    """NeMo's loss of TDT models runs on a GPU only."""
    on_gpu = recipe.accelerator != "cpu" and torch.cuda.is_available()
    if model is not None and model.cfg.get("loss", {}).get("loss_name") == "tdt" and not on_gpu:
        raise ValueError(f"{recipe.base.name} is a TDT model, which is trained on a GPU only")


def _features(recipe: Recipe, model: Any) -> DictConfig:
    if model is None:
        raise ValueError(
            "--preprocessor changes the preprocessor of a .nemo file; for a new model, give a "
            f".yaml with these settings instead of {recipe.base.name}"
        )
    return preprocessor_config(model, recipe.preprocessor)


def _with_new_vocabulary(recipe: Recipe, model: Any, speech: Speech, folder: Path) -> Any:
    texts = speech.texts
    if recipe.vocabulary:
        checked = [check_manifest(each, float("inf"), audio=False) for each in recipe.vocabulary]
        faults = [fault for _, found in checked for fault in found]
        if faults:
            raise ManifestFaultsError(faults)
        texts = [each.text for utterances, _ in checked for each in utterances]
    if model is None:
        return fresh_model(recipe.base, texts, recipe.new_vocabulary or DEFAULT_PIECES, folder)
    change_vocabulary(model, texts, recipe.new_vocabulary or DEFAULT_PIECES, folder)
    return model


def is_first() -> bool:
    """Whether this is the first, or only, of the processes that train together."""
    return os.environ.get("LOCAL_RANK", "0") == "0" and os.environ.get("NODE_RANK", "0") == "0"
