"""`chorus calibrate`: calibrate models' confidences, and choose how to combine the models.

For each model, a logistic regression is fitted on labelled speech: the probability that a word is
right, given its confidence and that of its utterance (`schemas.calibration.ModelCalibration`). Then
a grid search finds the parameters of the vote on calibrated confidences. The gain of both is
measured by cross-validation, with all utterances of a speaker in the same fold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from rapidfuzz.distance import Levenshtein

from schemas.calibration import Calibration, ModelCalibration
from schemas.settings import Combiner, ModelSettings
from serve_app.engines.base import Hypothesis
from serve_app.routing.calibration import calibrated, logit
from serve_app.routing.combining.combine import combine
from serve_app.routing.combining.conventions import spoken
from serve_app.routing.combining.hypotheses import Candidate, candidate
from serve_app.scoring.wer import NORMALISER, ErrorCounts, compared_words, count_edits, normalise
from workers.evaluation.statistics.intervals import Bootstrap
from workers.evaluation.statistics.scores import UtteranceScore, pool
from workers.evaluation.systems.naming import SystemLike, as_systems
from workers.evaluation.systems.recognition import Heard, ProgressCallback, Task, recognise
from workers.evaluation.testset import TestSet, read_test_set
from workers.manifests.speech import Utterance

FOLDS = 5
#: Fewest right words, and fewest wrong words, by which a model can be calibrated.
MIN_WORDS = 30
_BINS = 15

#: The parameters of the vote that are tried, in this order; of equally good ones, the first wins.
_GRID = tuple(
    Combiner(alpha=alpha, null_confidence=null, vote_confidence="share", power=power)
    for alpha, null, power in product((0.5, 0.3, 0.7), (0.4, 0.2, 0.6), (10.0, 5.0, 20.0))
)


@dataclass(frozen=True)
class Labelled:
    """One utterance with a reference and the hypotheses of all models.

    Attributes:
        reference: normalised words of the reference.
        group: the speaker; if unknown, a name of the utterance itself.
        heard: hypotheses by model; models that failed are left out.
        lang: BCP 47 tag of its language, if known.
    """

    reference: tuple[str, ...]
    group: str
    heard: Mapping[str, Hypothesis]
    lang: str | None = None


def calibrate(
    models: Sequence[SystemLike],
    manifests: Sequence[str | Path | TestSet],
    *,
    settings: Mapping[str, ModelSettings] | None = None,
    folder: str | Path | None = None,
    report: ProgressCallback = lambda name, done, total: None,
    say: Callable[[str], None] = lambda _: None,
) -> Calibration:
    """Calibrate models on labelled speech that none of them was trained on. Blocks.

    Args:
        models: as in `workers.evaluation.compare`; their names must be those in the settings.
        manifests: NeMo manifests, or test sets that have been read.
        settings: models by name.
        folder: where finished recognition is kept, so that an interrupted call can resume.
        report: called with the system's name, how many utterances are done, and how many there are.
        say: called with a line of text before each step that follows recognition.

    Returns:
        The calibration. Its figures, by cross-validation: `ece_before` and `ece_after` (expected
        calibration error of the words, 0 to 1), and in percent `wer_best_single`,
        `wer_confidence_raw`, `wer_confidence`, `wer_rover` and `wer_mbr`, each with the ends of its
        95% interval (`..._low`, `..._high`).

    Raises:
        ManifestFaultsError: a manifest has invalid lines; it lists them all.
        ValueError: the speech has no references or only one speaker; a model has no confidences, or
            too few right or wrong words.
        EngineError: a model cannot be loaded, or fails on all audio.
        OSError: a file cannot be read or written.
    """
    systems = as_systems(models, settings)
    sets = [each if isinstance(each, TestSet) else read_test_set(each) for each in manifests]
    _check_speakers(sets)
    where = Path(folder) if folder is not None else None
    tasks = [Task(each.name, each) for each in sets]
    found = {
        system.name: recognise(system, tasks, words=True, folder=where, report=report)
        for system in systems
    }
    heard = {name: each.heard for name, each in found.items()}
    speech = list(labelled(sets, heard))
    say("cross-validating")
    figures = _figures(speech)
    say("fitting on all data")
    learned = learn(speech)
    return Calibration(
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        normaliser=NORMALISER,
        utterances=len(speech),
        models=learned,
        sha256={name: each.info.sha256 for name, each in found.items()},
        combiner=best_combiner(speech, learned),
        figures=figures,
    )


def labelled(
    sets: Sequence[TestSet], heard: Mapping[str, Mapping[str, Sequence[Heard]]]
) -> Iterator[Labelled]:
    """Pair each utterance that has a reference with the hypotheses of all models.

    Args:
        sets: the test sets.
        heard: what was recognised, by model, then by name of the set, in the order of the set.
    """
    for each in sets:
        for index, utterance in enumerate(each.utterances):
            if not utterance.has_text:
                continue
            rows = {name: of_sets[each.name][index] for name, of_sets in heard.items()}
            yield Labelled(
                reference=tuple(normalise(utterance.text)),
                group=_group(each, utterance),
                heard={
                    name: found
                    for name, row in rows.items()
                    if (found := row.hypothesis) is not None
                },
                lang=utterance.lang,
            )


def learn(speech: Sequence[Labelled]) -> dict[str, ModelCalibration]:
    """Fit the calibration of each model.

    Raises:
        ValueError: a model has no confidences, or too few right or wrong words.
    """
    return {name: _learn(name, speech) for name in _names(speech)}


def best_combiner(speech: Sequence[Labelled], learned: Mapping[str, ModelCalibration]) -> Combiner:
    """Find the parameters of the vote with the lowest WER on `speech`."""
    candidates = [(each, _candidates(each, learned)) for each in speech]

    def errors(combiner: Combiner) -> int:
        return sum(_errors(each, some, combiner).errors for each, some in candidates)

    return min(_GRID, key=errors)


def correct_words(reference: Sequence[str], heard: Sequence[str]) -> list[bool]:
    """Whether each recognised word is right, in an alignment with the fewest edits."""
    right = [False] * len(heard)
    for block in Levenshtein.opcodes(reference, heard):
        if block.tag == "equal":
            right[block.dest_start : block.dest_end] = [True] * (block.dest_end - block.dest_start)
    return right


def expected_calibration_error(confidences: Sequence[float], right: Sequence[bool]) -> float:
    """Expected calibration error, 0 to 1, over 15 bins of equal width (Guo et al., 2017).

    Args:
        confidences: confidence of each word, 0 to 1.
        right: whether each word is right.
    """
    sure, true = np.asarray(confidences), np.asarray(right, float)
    bins = np.minimum((sure * _BINS).astype(int), _BINS - 1)
    gaps = [
        abs(sure[bins == each].mean() - true[bins == each].mean()) * np.mean(bins == each)
        for each in np.unique(bins)
    ]
    return float(sum(gaps))


def _check_speakers(sets: Sequence[TestSet]) -> None:
    groups = {
        _group(each, utterance)
        for each in sets
        for utterance in each.utterances
        if utterance.has_text
    }
    if not groups:
        raise ValueError("no utterance has a reference (`text`): calibration needs labelled speech")
    if len(groups) == 1:
        raise ValueError(
            "all utterances are of one speaker, and cross-validation needs two or more: add speech "
            "of others"
        )


def _group(test_set: TestSet, utterance: Utterance) -> str:
    """The speaker; if unknown, a name of the utterance itself."""
    return utterance.speaker or f"{test_set.name}/{utterance.id}"


def _names(speech: Sequence[Labelled]) -> list[str]:
    return list(dict.fromkeys(name for each in speech for name in each.heard))


def _words(each: Labelled, name: str) -> tuple[Candidate, list[bool]] | None:
    """A model's uncalibrated words and whether each is right; None if it failed."""
    heard = each.heard.get(name)
    if heard is None:
        return None
    raw = candidate(name, heard)
    reference, said = spoken([_reference(each), raw], each.lang)
    right = [True] * len(raw.words)
    for place, correct in zip(said.places, correct_words(reference.keys, said.keys), strict=True):
        right[place] &= correct
    return raw, right


def _reference(each: Labelled) -> Candidate:
    return candidate("", Hypothesis(text=" ".join(each.reference)))


def _learn(name: str, speech: Sequence[Labelled]) -> ModelCalibration:
    features: list[list[float]] = []
    right: list[bool] = []
    for each in speech:
        found = _words(each, name)
        if found is None or not found[0].words:
            continue
        if any(word.confidence is None for word in found[0].words):
            raise ValueError(f"model {name} gives no confidences, so it cannot be calibrated")
        logits = [logit(sure) for sure in found[0].confidences]
        mean = sum(logits) / len(logits)
        features += [[each_, mean] for each_ in logits]
        right += found[1]
    if min(sum(right), len(right) - sum(right)) < MIN_WORDS:
        raise ValueError(
            f"model {name}: {sum(right)} of {len(right)} words are right; calibration needs at "
            f"least {MIN_WORDS} right and {MIN_WORDS} wrong words: add speech, also of other "
            "domains"
        )
    from sklearn.linear_model import LogisticRegression  # a second to import, for this alone

    fitted = LogisticRegression().fit(np.array(features), np.array(right))
    (word, utterance), (bias,) = fitted.coef_[0], fitted.intercept_
    return ModelCalibration(
        bias=float(bias), word=float(word), utterance=float(utterance), words=len(right)
    )


def _candidates(each: Labelled, learned: Mapping[str, ModelCalibration]) -> list[Candidate]:
    return [candidate(name, heard, learned.get(name)) for name, heard in each.heard.items()]


def _errors(each: Labelled, candidates: Sequence[Candidate], combiner: Combiner) -> ErrorCounts:
    text = combine(candidates, combiner, lang=each.lang).text if candidates else ""
    return _count(each, text)


def _count(each: Labelled, text: str) -> ErrorCounts:
    """The errors of a text, where what differs from the reference by convention is none."""
    both = spoken([_reference(each), candidate("", Hypothesis(text=text))], each.lang)
    said, heard = ([part for key in one.keys for part in compared_words(key)] for one in both)
    return count_edits(said, heard)


def _figures(speech: Sequence[Labelled]) -> dict[str, float]:
    """Errors with and without calibration and combination, by cross-validation."""
    folds, names = _folds(speech), _names(speech)
    counts: dict[str, dict[int, ErrorCounts]] = {}
    before: list[float] = []
    after: list[float] = []
    right: list[bool] = []
    for fold in range(FOLDS):
        rest = [each for each, number in zip(speech, folds, strict=True) if number != fold]
        learned = {name: _learn(name, rest) for name in names}
        vote = best_combiner(rest, learned)
        ways: list[tuple[str, Mapping[str, ModelCalibration], Combiner]] = [
            ("wer_confidence_raw", {}, replace(vote, method="confidence")),
            ("wer_confidence", learned, replace(vote, method="confidence")),
            ("wer_mbr", learned, replace(vote, method="mbr")),
            ("wer_rover", learned, vote),
        ]
        for index, each in enumerate(speech):
            if folds[index] != fold:
                continue
            for key, calibration, combiner in ways:
                found = _errors(each, _candidates(each, calibration), combiner)
                counts.setdefault(key, {})[index] = found
            for name in names:
                words = _words(each, name)
                if words is not None:
                    before += words[0].confidences
                    after += calibrated(words[0].confidences, learned[name])
                    right += words[1]
    counts = {"wer_best_single": _best_single(speech), **counts}
    return {
        "ece_before": round(expected_calibration_error(before, right), 4),
        "ece_after": round(expected_calibration_error(after, right), 4),
        **_rates(speech, counts),
    }


def _folds(speech: Sequence[Labelled]) -> list[int]:
    """The fold of each utterance; all utterances of a speaker are in the same fold."""
    numbers = {group: i for i, group in enumerate(dict.fromkeys(each.group for each in speech))}
    return [numbers[each.group] % FOLDS for each in speech]


def _best_single(speech: Sequence[Labelled]) -> dict[int, ErrorCounts]:
    """The errors, by utterance, of the model with the fewest errors."""
    by_model = [
        {
            index: _count(each, each.heard[name].text if name in each.heard else "")
            for index, each in enumerate(speech)
        }
        for name in _names(speech)
    ]
    return min(by_model, key=lambda counts: sum(each.errors for each in counts.values()))


def _rates(
    speech: Sequence[Labelled], counts: Mapping[str, Mapping[int, ErrorCounts]]
) -> dict[str, float]:
    """The WER of each method with its interval, in percent."""
    bootstrap = Bootstrap([each.group for each in speech], [True] * len(speech))
    rates = {}
    for key, by_index in counts.items():
        scores = [
            UtteranceScore(words=by_index[index], characters=ErrorCounts())
            for index in range(len(speech))
        ]
        rates[key] = round(pool(scores).wer or 0.0, 2)
        interval = bootstrap.interval(scores)
        if interval is not None:
            rates[f"{key}_low"], rates[f"{key}_high"] = interval.low, interval.high
    return rates
