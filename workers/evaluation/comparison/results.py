"""The result of a comparison: scores by test set and overall, differences, utterances."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from workers.evaluation.results import Result
from workers.evaluation.statistics.intervals import Difference, Interval
from workers.evaluation.statistics.scores import Score
from workers.evaluation.systems.base import SystemInfo

if TYPE_CHECKING:
    import pandas


class SetInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Description of a test set.

    Attributes:
        name: display name.
        sha256: digest of its manifest.
        utterances: number of utterances.
        seconds: total duration in seconds.
        left_out: number of invalid lines that were left out (`skip_faults`).
        drawn: what the bootstrap resamples: "speakers" or "utterances".
        blocks: how many of them there are.
    """

    name: str
    sha256: str
    utterances: int
    seconds: float
    left_out: int
    drawn: str
    blocks: int


class SliceScore(msgspec.Struct, frozen=True, kw_only=True):
    """Accuracy on a part of a test set, see `workers.evaluation.statistics.slices`."""

    field: str
    value: str
    score: Score


class Worst(msgspec.Struct, frozen=True, kw_only=True):
    """An utterance with many errors.

    Attributes:
        id: id of the utterance.
        duration: in seconds.
        reference: reference text.
        hypothesis: transcript; empty if the system recognised nothing, or failed.
        errors: number of word errors.
        wer: in percent; None if the reference is empty.
        failed: whether the system failed on the utterance.
    """

    id: str
    duration: float
    reference: str
    hypothesis: str
    errors: int
    wer: float | None
    failed: bool


class SetResult(msgspec.Struct, frozen=True, kw_only=True):
    """Result of one system on one test set.

    Attributes:
        system: name of the system.
        test_set: name of the test set.
        score: accuracy.
        interval: 95% interval of the pooled WER.
        rtfx: seconds of audio divided by seconds of processing, without reading the audio.
        samples_per_second: utterances divided by seconds of processing.
        slices: accuracy on each slice that has utterances.
        worst: the utterances with the most errors.
    """

    system: str
    test_set: str
    score: Score
    interval: Interval | None
    rtfx: float | None
    samples_per_second: float | None
    slices: list[SliceScore]
    worst: list[Worst]


class OverallResult(msgspec.Struct, frozen=True, kw_only=True):
    """Result of one system on all test sets together, as if they were one.

    Attributes:
        system: name of the system.
        score: accuracy.
        interval: 95% interval of the pooled WER.
        rtfx: seconds of audio divided by seconds of processing.
        drawn: what the bootstrap resamples: "speakers" or "utterances". Speakers with the same name
            in different sets count as one.
        blocks: how many of them there are.
    """

    system: str
    score: Score
    interval: Interval | None
    rtfx: float | None
    drawn: str
    blocks: int


class SetDifferences(msgspec.Struct, frozen=True, kw_only=True):
    """The differences between all pairs of systems on one test set."""

    test_set: str
    pairs: list[Difference]


class UtteranceRow(msgspec.Struct, frozen=True, kw_only=True):
    """Result of one system on one utterance; WER in percent."""

    system: str
    test_set: str
    id: str
    duration: float
    speaker: str
    snr_db: float | None
    bandwidth_hz: float | None
    text: str | None
    pred_text: str | None
    confidence: float | None
    wer: float | None
    errors: int | None
    reference_words: int | None


class Comparison(Result):
    """Result of `compare`; `frame`, `overall_frame` and `utterance_frame` return pandas tables.

    Attributes:
        made: time of the comparison: UTC, ISO 8601.
        normaliser: name of the text normalisation, see `serve_app.scoring.wer`.
        replicates: number of bootstrap replicates for each interval and each difference.
        systems: what was compared.
        gpu_memory_gb: peak GPU memory of each system, in GiB, by its name.
        sets: the test sets.
        results: each system on each set, in the order of `sets`, then of `systems`.
        differences: between all pairs of systems, in the order of `sets`.
        overall: each system on all sets together, in the order of `systems`; empty for one set.
        overall_differences: between all pairs on all sets together; empty for one set.
        utterances: each system on each utterance.
    """

    made: str
    normaliser: str
    replicates: int
    systems: list[SystemInfo]
    gpu_memory_gb: dict[str, float]
    sets: list[SetInfo]
    results: list[SetResult]
    differences: list[SetDifferences]
    overall: list[OverallResult]
    overall_differences: list[Difference]
    utterances: list[UtteranceRow]

    def frame(self) -> pandas.DataFrame:
        """A table with one row for each system and set.

        The columns of NeMo Curator's tutorial have its names: `model_name`, `model_type`,
        `domain`, `real_time_factor` (which is RTFx: more is faster), `samples_per_second`,
        `gpu_memory_gb`, `mean_wer`, `excellent_ratio` (0 to 1), `memory_per_sample`. The headline
        is `wer`, pooled, in percent, with its interval.
        """
        import pandas as pd

        rows = []
        for each in self.results:
            memory = self.gpu_memory_gb[each.system]
            rows.append(
                {
                    **self._model(each.system),
                    "test_set": each.test_set,
                    **_figures(each),
                    "samples_per_second": each.samples_per_second,
                    "gpu_memory_gb": memory,
                    "memory_per_sample": memory / max(1, each.score.utterances),
                }
            )
        return pd.DataFrame(rows)

    def overall_frame(self) -> pandas.DataFrame:
        """A table with one row for each system, on all sets together; some columns of `frame`."""
        import pandas as pd

        return pd.DataFrame([{**self._model(e.system), **_figures(e)} for e in self.overall])

    def utterance_frame(self) -> pandas.DataFrame:
        """A table with one row for each system and utterance, see `UtteranceRow`."""
        import pandas as pd

        return pd.DataFrame([msgspec.structs.asdict(each) for each in self.utterances])

    def _model(self, name: str) -> dict[str, object]:
        info = next(each for each in self.systems if each.name == name)
        return {"model_name": name, "model_type": info.type, "domain": info.domain}


def _figures(result: SetResult | OverallResult) -> dict[str, object]:
    score = result.score
    return {
        "utterances": score.utterances,
        "wer": score.wer,
        "wer_low": result.interval.low if result.interval else None,
        "wer_high": result.interval.high if result.interval else None,
        "cer": score.cer,
        "substitutions": score.words.substitutions,
        "deletions": score.words.deletions,
        "insertions": score.words.insertions,
        "reference_words": score.words.reference,
        "failed": score.failed,
        "mean_wer": score.mean_wer,
        "median_wer": score.median_wer,
        "wer_std": score.wer_std,
        "excellent_ratio": None if score.excellent_rate is None else score.excellent_rate / 100,
        "real_time_factor": result.rtfx,
    }
