"""The data and the length of a training: the manifests of a recipe, read and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from serve_app.scoring.wer import normalise
from workers.finetune.batches import Source, batch_stream
from workers.finetune.budget import Budget
from workers.finetune.recipe import Recipe
from workers.finetune.vocabulary import Vocabulary
from workers.manifests.files import any_stream
from workers.manifests.leakage import shared_faults
from workers.manifests.speech import Fault, ManifestFaultsError, Utterance, check_manifest


@dataclass(frozen=True)
class Speech:
    """The manifests of a recipe, read and found good; each source with its manifests."""

    sources: list[tuple[Sequence[Path], Source]]
    validation: list[Utterance]
    tests: list[list[Utterance]]

    @property
    def texts(self) -> list[str]:
        """The texts of all training data."""
        return [each.text for _, source in self.sources for each in source.utterances]


def read_speech(recipe: Recipe, vocabulary: Vocabulary | None) -> Speech:
    """All speech of the recipe; ManifestFaultsError where any of it is not good."""
    _check_streams(recipe)
    faults: list[Fault] = []

    def read(manifest: Path, limit: int | None = None, *, learn: bool) -> list[Utterance]:
        utterances, found = check_manifest(manifest, recipe.max_seconds, limit)
        if recipe.plain_texts:
            utterances = [replace(u, text=" ".join(normalise(u.text))) for u in utterances]
        if learn and vocabulary is not None:
            found += _foreign(utterances, vocabulary)
        faults.extend(sorted(found, key=lambda fault: fault.line))
        return utterances

    main = [read(manifest, learn=True) for manifest in recipe.train]
    others = [(mix, read(mix.manifest, mix.limit, learn=True)) for mix in recipe.mix]
    validation = read(recipe.validation, learn=False)
    tests = [read(manifest, learn=False) for manifest in recipe.test]
    training = [each for part in (*main, *(part for _, part in others)) for each in part]
    for part in (validation, *tests):
        faults += shared_faults(part, training)
    if faults:
        raise ManifestFaultsError(faults)
    share = 1.0 - sum(mix.share for mix in recipe.mix)
    if share <= 0:
        raise ValueError("the shares of the mixed-in data leave nothing to the training data")
    together = Source([each for part in main for each in part], share)
    sources: list[tuple[Sequence[Path], Source]] = [(recipe.train, together)]
    sources += [([mix.manifest], Source(part, mix.share)) for mix, part in others]
    return Speech(sources, validation, tests)


def _check_streams(recipe: Recipe) -> None:
    """Each of several processes reads the manifests, and a pipe can be read by one of them."""
    manifests = [*recipe.train, recipe.validation, *recipe.test, *recipe.vocabulary]
    manifests += [mix.manifest for mix in recipe.mix]
    if recipe.devices > 1 and any_stream(manifests):
        raise ValueError("with several devices, manifests must be files, not pipes")


def _foreign(utterances: Sequence[Utterance], vocabulary: Vocabulary) -> list[Fault]:
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
            faults.append(Fault(each.manifest, each.line, reason))
    return faults


def budget_of(recipe: Recipe, speech: Speech) -> Budget:
    """The budget of the recipe; its epochs as the steps that they take."""
    if recipe.epochs is None:
        return Budget(recipe.steps, recipe.minutes)
    stream = batch_stream([source for _, source in speech.sources], recipe)
    return Budget(steps=max(1, round(recipe.epochs * stream.pass_batches() / recipe.devices)))
