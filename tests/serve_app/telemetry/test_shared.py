"""Metrics of the replicas of one machine, told by any of them."""

from __future__ import annotations

import os
import time
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from serve_app.telemetry import definitions as defined
from serve_app.telemetry.shared import Replica, SharedInstruments


def samples(instruments: SharedInstruments) -> dict[tuple[str, str], float]:
    """Values by name and replica; every metric is there once."""
    families = list(text_string_to_metric_families(instruments.text().decode()))
    assert len({each.name for each in families}) == len(families)
    return {
        (sample.name, sample.labels["replica"]): sample.value
        for family in families
        for sample in family.samples
        if sample.labels.get("le") in (None, "+Inf")
    }


def test_each_tells_the_metrics_of_all(tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    first, second = (SharedInstruments(folder, Replica("app", "m", name)) for name in "ab")
    first.add(defined.MODEL_AUDIO, 2.5, "general")
    first.observe(defined.MODEL_BATCH, 0.3, "general")
    second.add(defined.MODEL_AUDIO, 1.5, "general")
    second.set(defined.MODEL_WAITING, 7, "general")
    second.write()
    found = samples(first)
    assert found["chorus_model_audio_seconds_total", "a"] == 2.5
    assert found["chorus_model_audio_seconds_total", "b"] == 1.5
    assert found["chorus_model_batch_seconds_count", "a"] == 1
    assert found["chorus_model_waiting", "b"] == 7


def test_of_a_replica_that_has_ended_the_counts_stay_and_the_gauges_go(tmp_path: Path) -> None:
    first, ended = (SharedInstruments(tmp_path, Replica("app", "m", name)) for name in "ab")
    ended.add(defined.MODEL_AUDIO, 1.5, "general")
    ended.set(defined.MODEL_WAITING, 7, "general")
    ended.write()
    ended.write = lambda: None  # type: ignore[method-assign]
    [file] = tmp_path.glob("*b.metrics")
    for age, told in ((60, True), (600, False)):
        then = time.time() - age
        os.utime(file, (then, then))
        found = samples(first)
        assert (("chorus_model_audio_seconds_total", "b") in found) is told
        assert ("chorus_model_waiting", "b") not in found
    assert not file.exists()
