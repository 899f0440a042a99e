"""What is to be trained, on what, for how long: the job, and its manifests read and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from serve_app.wer import normalise
from workers.finetune.budget import Budget
from workers.finetune.fit import Source, batch_stream
from workers.finetune.hyperparameters import Hyperparameters
from workers.finetune.vocabulary import Vocabulary
from workers.speech import (
    Fault,
    ManifestFaultsError,
    Utterance,
    check_manifest,
    shared_faults,
)

#: Pieces of a new vocabulary, unless told otherwise.
PIECES = 128


@dataclass(frozen=True)
class Mix:
    """Further training data: `share` of the utterances of a pass, from the first `limit` ones."""

    manifest: Path
    share: float
    limit: int | None = None


@dataclass(frozen=True)
class Job:
    """What to train, on what, for how long.

    Attributes:
        name: of the model; its versions go to ``output/name``.
        domain: what it is for.
        base: a `.nemo` file, or the `.yaml` of a fresh CTC model.
        train: manifests of the main training data, put together.
        mix: other data beside it, so that the model does not forget what it could do.
        validation: manifest that the training is watched on.
        tests: manifests that are only measured on.
        output: folder of models.
        steps, epochs, minutes: the budget; exactly one is given.
        pieces: of a new vocabulary; None keeps that of the base.
        preprocessor: settings of it that are not the base's, by NeMo's names.
        vocabulary: manifests whose texts the new vocabulary is made from; else the training data.
        plain_texts: learn texts as the WER compares them: lower case, no punctuation.
        max_seconds: longest utterance to learn from.
        half_precision: store the weights with 16 bits.
        devices, accelerator, precision: as in `fit`.
    """

    name: str
    domain: str
    base: Path
    train: Sequence[Path]
    validation: Path
    output: Path
    mix: Sequence[Mix] = ()
    tests: Sequence[Path] = ()
    steps: int | None = None
    epochs: float | None = None
    minutes: float | None = None
    pieces: int | None = None
    preprocessor: Mapping[str, Any] = field(default_factory=dict)
    vocabulary: Sequence[Path] = ()
    plain_texts: bool = False
    max_seconds: float = 30.0
    half_precision: bool = False
    hyper: Hyperparameters = field(default_factory=Hyperparameters)
    devices: int = 1
    accelerator: str = "auto"
    precision: str = "auto"


@dataclass(frozen=True)
class Speech:
    """The manifests of a job, read and found good; each source with its manifests."""

    sources: list[tuple[Sequence[Path], Source]]
    validation: list[Utterance]
    tests: list[list[Utterance]]

    @property
    def texts(self) -> list[str]:
        return [each.text for _, source in self.sources for each in source.utterances]


def read_speech(job: Job, vocabulary: Vocabulary | None) -> Speech:
    """All speech of the job; ManifestFaultsError where any of it is not good."""
    faults: list[Fault] = []

    def read(manifest: Path, limit: int | None = None, *, learn: bool) -> list[Utterance]:
        utterances, found = check_manifest(manifest, job.max_seconds, limit)
        if job.plain_texts:
            utterances = [replace(u, text=" ".join(normalise(u.text))) for u in utterances]
        if learn and vocabulary is not None:
            found += _foreign(manifest, utterances, vocabulary)
        faults.extend(sorted(found, key=lambda fault: fault.line))
        return utterances

    main = [read(manifest, learn=True) for manifest in job.train]
    others = [(mix, read(mix.manifest, mix.limit, learn=True)) for mix in job.mix]
    validation = read(job.validation, learn=False)
    tests = [read(manifest, learn=False) for manifest in job.tests]
    training = [each for part in (*main, *(part for _, part in others)) for each in part]
    for manifest, part in zip((job.validation, *job.tests), (validation, *tests), strict=True):
        faults += shared_faults(manifest, part, training)
    if faults:
        raise ManifestFaultsError(faults)
    share = 1.0 - sum(mix.share for mix in job.mix)
    if share <= 0:
        raise ValueError("the shares of the mixed-in data leave nothing to the training data")
    together = Source([each for part in main for each in part], share)
    sources: list[tuple[Sequence[Path], Source]] = [(job.train, together)]
    sources += [([mix.manifest], Source(part, mix.share)) for mix, part in others]
    return Speech(sources, validation, tests)


def _foreign(
    manifest: Path, utterances: Sequence[Utterance], vocabulary: Vocabulary
) -> list[Fault]:
    """The utterances whose text the model cannot write."""
    faults = []
    for each in utterances:
        outside = vocabulary.outside(each.text)
        if outside:
            reason = (
                f"`text`: the model does not write {' '.join(map(repr, outside))}; correct the "
                "text, learn plain texts (--plain-texts), or ask for a new vocabulary "
                "(--new-vocabulary)"
            )
            faults.append(Fault(manifest.name, each.line, reason))
    return faults


def budget_of(job: Job, speech: Speech) -> Budget:
    """The budget of the job; its epochs as the steps that they take."""
    if job.epochs is None:
        return Budget(job.steps, job.minutes)
    stream = batch_stream([source for _, source in speech.sources], job.hyper)
    return Budget(steps=max(1, round(job.epochs * stream.pass_batches() / job.devices)))
