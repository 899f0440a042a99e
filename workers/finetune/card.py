"""The card of a model that was trained here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version as library_version
from pathlib import Path
from typing import Any

from schemas.model_card import DataFacts, ModelCard, Wer
from serve_app.digest import sha256_of
from serve_app.wer import NORMALISER
from workers.finetune.callbacks import Fitted
from workers.finetune.plan import Job, Speech
from workers.finetune.versions import version_of
from workers.speech import Utterance

_LIBRARIES = ("chorus-asr", "nemo_toolkit", "torch", "lightning")


def make_card(
    job: Job,
    speech: Speech,
    model: Any,
    path: Path,
    fitted: Fitted,
    measured: Sequence[tuple[float | None, float | None]],
) -> ModelCard:
    manifests = [job.validation, *job.tests]
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
    budget = {"steps": job.steps, "epochs": job.epochs, "minutes": job.minutes}
    return ModelCard(
        name=job.name,
        version=version_of(path.parent),
        domain=job.domain,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        model_class=type(model).__name__,
        parameters=sum(weight.numel() for weight in model.parameters()),
        base=job.base.name,
        base_sha256=sha256_of(job.base),
        training=[_facts(name, source.utterances, source.share) for name, source in speech.sources],
        validation=wers[0],
        tests=wers[1:],
        hyperparameters={
            **{key: value for key, value in asdict(job.hyper).items() if key != "augmentation"},
            **asdict(job.hyper.augmentation),
            **{key: value for key, value in budget.items() if value is not None},
            "pieces": job.pieces,
            **{f"preprocessor.{key}": value for key, value in job.preprocessor.items()},
        },
        steps=fitted.last.step,
        seconds=fitted.last.seconds,
        stopped=fitted.stopped,
        chosen_step=fitted.best.step,
        versions={name: library_version(name) for name in _LIBRARIES},
        bytes=path.stat().st_size,
        sha256=sha256_of(path),
    )


def _facts(
    manifests: Sequence[Path], utterances: Sequence[Utterance], share: float | None = None
) -> DataFacts:
    return DataFacts(
        manifests={manifest.name: sha256_of(manifest) for manifest in manifests},
        utterances=len(utterances),
        hours=round(sum(each.duration for each in utterances) / 3600, 3),
        share=None if share is None else round(share, 6),
    )


def _rounded(percent: float | None) -> float | None:
    return None if percent is None else round(percent, 2)
