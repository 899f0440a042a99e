"""The tutorial's summary, with values that are true."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from schemas.metrics import MetricsEvent
from schemas.transcript import Timings
from tests.workers.quality.test_observations import transcript
from workers.quality.reading import TimedTranscript
from workers.quality.summary import performance_summary


def records(wer: float, count: int, start: float = 0.0) -> list[TimedTranscript]:
    rng = np.random.default_rng(0)
    errors = rng.binomial(10, wer, count)
    return [
        TimedTranscript(
            transcript(
                "one two three four five six seven eight nine ten",
                timings=Timings(model_ms=8.0, total_ms=900.0),
                wer=10.0 * int(each),
                word_errors=int(each),
                reference_words=10,
            ),
            start + number / 4,
        )
        for number, each in enumerate(errors)
    ]


def event(done: int, dead: int) -> MetricsEvent:
    keys = dict.fromkeys(MetricsEvent.__struct_fields__, 0)
    del keys["alert"]
    given = {"worker": "w", "model": "m", "domain": "", "latency": None}
    return msgspec.convert({**keys, **given, "records": done, "dead_letters": dead}, MetricsEvent)


def test_without_transcripts_there_is_no_data() -> None:
    assert performance_summary([]) == {"status": "no_data"}


def test_the_keys_are_those_of_the_tutorial() -> None:
    found = performance_summary(records(0.1, 1500), [event(700, 5), event(800, 10)])
    metrics = found.pop("quality_metrics")
    assert found == {
        "total_samples": 1500,
        "average_processing_time": pytest.approx(0.008),
        "error_rate": pytest.approx(15 / 1515),
        "samples_per_second": pytest.approx(4.0),
    }
    assert metrics["mean_wer"] == pytest.approx(10, abs=1)
    assert metrics["wer"] == pytest.approx(metrics["mean_wer"])
    assert metrics["quality_trend"] == "stable"
    low, high = metrics["quality_trend_interval"]
    assert low < 0 < high


def test_a_model_that_gets_worse_is_degrading() -> None:
    found = performance_summary([*records(0.1, 1500), *records(0.2, 500, start=400.0)])
    metrics = found["quality_metrics"]
    assert metrics["quality_trend"] == "degrading"
    assert metrics["quality_trend_interval"][0] > 0
    assert found["error_rate"] is None, "nobody has told of dead letters"


def test_few_records_have_no_trend() -> None:
    metrics = performance_summary(records(0.1, 200))["quality_metrics"]
    assert (metrics["quality_trend"], metrics["quality_trend_interval"]) == ("no_data", None)
    (without, _), *_ = records(0.1, 1)
    plain = msgspec.structs.replace(without, wer=None, word_errors=None, reference_words=None)
    assert "quality_metrics" not in performance_summary([TimedTranscript(plain, None)])
