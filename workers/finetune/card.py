"""The card of a model that was trained here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version as library_version
from pathlib import Path
from typing import Any

from schemas.model_card import DataFacts, ModelCard, Wer
from serve_app.scoring.wer import NORMALISER
from serve_app.system.files import sha256_of
from workers.finetune.callbacks import Fitted
from workers.finetune.plan import Speech
from workers.finetune.recipe import Recipe
from workers.finetune.record import hyperparameters_of
from workers.manifests.files import manifest_sha256
from workers.manifests.source import name_of
from workers.manifests.speech import Utterance

_LIBRARIES = ("chorus-asr", "nemo_toolkit", "torch", "lightning")


def make_card(
    recipe: Recipe,
    speech: Speech,
    model: Any,
    fitted: Fitted,
    measured: Sequence[tuple[float | None, float | None]],
) -> ModelCard:
    """The card of a new version, without what its registration adds."""
    manifests = [recipe.validation, *recipe.test]
    heard = [speech.validation, *speech.tests]
    wers = [
        Wer(
            data=_facts([manifest], utterances),
            before=_rounded(before),
            after=_rounded(after),
            normaliser=NORMALISER,
        )
        for manifest, utterances, (before, after) in zip(manifests, heard, measured, strict=True)
    ]
    return ModelCard(
        name=recipe.name,
        version="",
        domain=recipe.domain,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        model_class=type(model).__name__,
        parameters=sum(weight.numel() for weight in model.parameters()),
        base=recipe.base.name,
        base_sha256=sha256_of(recipe.base),
        training=[_facts(name, source.utterances, source.share) for name, source in speech.sources],
        validation=wers[0],
        tests=wers[1:],
        hyperparameters=hyperparameters_of(recipe),
        steps=fitted.last.step,
        seconds=fitted.last.seconds,
        stopped=fitted.stopped,
        chosen_step=fitted.best.step,
        versions={name: library_version(name) for name in _LIBRARIES},
    )


def _facts(
    manifests: Sequence[Path], utterances: Sequence[Utterance], share: float | None = None
) -> DataFacts:
    return DataFacts(
        manifests={name_of(manifest): manifest_sha256(manifest) for manifest in manifests},
        utterances=len(utterances),
        hours=round(sum(each.duration for each in utterances) / 3600, 3),
        share=None if share is None else round(share, 6),
    )


def _rounded(percent: float | None) -> float | None:
    return None if percent is None else round(percent, 2)
