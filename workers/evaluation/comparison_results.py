"""What a comparison of systems holds: results by set and overall, differences, utterances."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from workers.evaluation.intervals import Difference, Interval
from workers.evaluation.results import Result
from workers.evaluation.scores import Score
from workers.evaluation.systems import SystemInfo

if TYPE_CHECKING:
    import pandas


class SetInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A test set.

    Attributes:
        sha256: of its manifest.
        seconds: of audio.
        left_out: lines of the manifest that were at fault, where that was allowed.
        drawn: what the intervals draw: "speakers" or "utterances", and how many there are.
    """

    name: str
    sha256: str
    utterances: int
    seconds: float
    left_out: int
    drawn: str
    blocks: int


class SliceScore(msgspec.Struct, frozen=True, kw_only=True):
    """Accuracy on a part of a set, see `workers.evaluation.slices`."""

    field: str
    value: str
    score: Score


class Worst(msgspec.Struct, frozen=True, kw_only=True):
    """An utterance with many errors.

    Attributes:
        hypothesis: empty where nothing was heard, and where the system failed.
        failed: the system gave no hypothesis.
    """

    id: str
    duration: float
    reference: str
    hypothesis: str
    errors: int
    wer: float | None
    failed: bool


class SetResult(msgspec.Struct, frozen=True, kw_only=True):
    """One system on one set.

    Attributes:
        score: accuracy.
        interval: of the pooled WER, 95%.
        rtfx: seconds of audio by seconds of work, reading the audio not counted.
        samples_per_second: utterances by seconds of work.
        slices: the score of each part that has utterances.
        worst: those with the most errors.
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
    """One system on all sets together, as if they were one.

    Attributes:
        score, interval, rtfx: as in `SetResult`.
        drawn, blocks: as in `SetInfo`. Speakers of one name are one, whatever sets they are in.
    """

    system: str
    score: Score
    interval: Interval | None
    rtfx: float | None
    drawn: str
    blocks: int


class SetDifferences(msgspec.Struct, frozen=True, kw_only=True):
    """Every pair of systems on one set."""

    test_set: str
    pairs: list[Difference]


class UtteranceRow(msgspec.Struct, frozen=True, kw_only=True):
    """One utterance by one system; rates in percent."""

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
    """What `compare` found; `frame`, `overall_frame` and `utterance_frame` are for pandas.

    Attributes:
        made: UTC, ISO 8601.
        normaliser: of the texts, see `serve_app.wer`.
        replicates: sets that were drawn for each interval and each difference.
        systems: what was compared, with the GPU memory that each took at most, in GiB.
        results: each system on each set, in the order of `sets`, then of `systems`.
        differences: by set, in the order of `sets`.
        overall: each system on all sets, in the order of `systems`; empty where there is one set.
        overall_differences: every pair on all sets; empty where there is one set.
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
        """One row for each system and set.

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
        """One row for each system, on all sets together; columns as in `frame`, but fewer."""
        import pandas as pd

        return pd.DataFrame([{**self._model(e.system), **_figures(e)} for e in self.overall])

    def utterance_frame(self) -> pandas.DataFrame:
        """One row for each system and utterance, see `UtteranceRow`."""
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
