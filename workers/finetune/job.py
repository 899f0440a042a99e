"""One fine-tuning from manifests to a version that is ready to serve."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from schemas.model_card import ModelCard
from serve_app.digest import sha256_of
from workers.finetune.callbacks import PROGRESS, Watcher
from workers.finetune.card import make_card
from workers.finetune.fit import fit
from workers.finetune.models import (
    change_preprocessor,
    fresh_model,
    open_model,
    preprocessor_config,
    save_model,
)
from workers.finetune.plan import PIECES, Job, Speech, budget_of, read_speech
from workers.finetune.scoring import word_errors
from workers.finetune.versions import MODEL, claim, finish_version, unfinished_version
from workers.finetune.vocabulary import Vocabulary, change_vocabulary
from workers.speech import ManifestFaultsError, check_manifest


def finetune(
    job: Job, *, watcher: Watcher | None = None, say: Callable[[str], None] = lambda _: None
) -> tuple[ModelCard, Path] | None:
    """Train, measure and store a new version; blocks until that is done.

    Called again with the same job after it was killed, it goes on from the last checkpoint, with
    the data order that it would have had.

    Args:
        watcher: told how the training goes.
        say: told what is being done.

    Returns:
        The card and the folder of the new version. None in a process other than the first, where
        several train together.

    Raises:
        ManifestFaultsError: the manifests are not fit to learn from; it lists all their faults.
        RunError: ``output/name`` holds an unfinished training with other data or settings.
        EngineError: the base model cannot be loaded.
        ValueError: the model cannot be trained on a CPU, the preprocessor cannot be such, the
            shares are wrong, or the texts are too few for the vocabulary that was asked for.
        OSError: a file cannot be read or written.
    """
    folder = unfinished_version(job.output, job.name)
    say(f"opening {job.base.name}")
    fresh = job.base.suffix in (".yaml", ".yml")
    model = None if fresh else open_model(job.base)
    _check_trainable(job, model)
    features = _features(job, model) if job.preprocessor else None
    say("checking the manifests")
    keeps_vocabulary = model is not None and job.pieces is None
    speech = read_speech(job, Vocabulary(model) if keeps_vocabulary else None)
    budget = budget_of(job, speech)
    claim(folder, _run(job))
    measured = [speech.validation, *speech.tests]
    before: list[float | None] = [None] * len(measured)
    if model is not None and is_first():
        say("measuring the base model")
        before = [word_errors(model, each).percent for each in measured]
    if not keeps_vocabulary:
        torch.manual_seed(job.hyper.seed)  # the first weights
        model = _with_new_vocabulary(job, model, speech, folder / "tokenizer")
    if features is not None:
        change_preprocessor(model, features)
    say("training")
    fitted = fit(
        model,
        [source for _, source in speech.sources],
        speech.validation,
        budget,
        job.hyper,
        folder,
        devices=job.devices,
        accelerator=job.accelerator,
        precision=job.precision,
        watcher=watcher,
    )
    if not is_first():
        return None
    say("measuring the new model")
    path = folder / MODEL
    save_model(model, path, half_precision=job.half_precision)
    stored = open_model(path)  # what will be served, rounded weights and all
    after = [word_errors(stored, each).percent for each in measured]
    card = make_card(job, speech, stored, path, fitted, list(zip(before, after, strict=True)))
    return card, finish_version(folder, card, keep=(PROGRESS,))


def _check_trainable(job: Job, model: Any) -> None:
    """NeMo's loss of TDT models runs on a GPU only."""
    on_gpu = job.accelerator != "cpu" and torch.cuda.is_available()
    if model is not None and model.cfg.get("loss", {}).get("loss_name") == "tdt" and not on_gpu:
        raise ValueError(f"{job.base.name} is a TDT model, which is trained on a GPU only")


def _features(job: Job, model: Any) -> DictConfig:
    if model is None:
        raise ValueError(f"write the settings of the preprocessor to {job.base.name} instead")
    return preprocessor_config(model, job.preprocessor)


def _with_new_vocabulary(job: Job, model: Any, speech: Speech, folder: Path) -> Any:
    texts = speech.texts
    if job.vocabulary:
        checked = [check_manifest(each, float("inf"), audio=False) for each in job.vocabulary]
        faults = [fault for _, found in checked for fault in found]
        if faults:
            raise ManifestFaultsError(faults)
        texts = [each.text for utterances, _ in checked for each in utterances]
    if model is None:
        return fresh_model(job.base, texts, job.pieces or PIECES, folder)
    change_vocabulary(model, texts, job.pieces or PIECES, folder)
    return model


def _run(job: Job) -> dict[str, Any]:
    """What makes a training the one it is; JSON-ready."""
    return {
        "base": sha256_of(job.base),
        "train": [sha256_of(manifest) for manifest in job.train],
        "mix": [[sha256_of(mix.manifest), mix.share, mix.limit] for mix in job.mix],
        "validation": sha256_of(job.validation),
        "budget": [job.steps, job.epochs, job.minutes],
        "pieces": job.pieces,
        "preprocessor": dict(job.preprocessor),
        "vocabulary": [sha256_of(manifest) for manifest in job.vocabulary],
        "plain_texts": job.plain_texts,
        "hyperparameters": asdict(job.hyper),
        "devices": job.devices,
    }


def is_first() -> bool:
    """Whether this is the first, or only, of the processes that train together."""
    return os.environ.get("LOCAL_RANK", "0") == "0" and os.environ.get("NODE_RANK", "0") == "0"
