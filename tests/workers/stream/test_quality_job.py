"""A stream whose model gets worse tells of it by itself, on a real broker."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import psutil
import pytest

from schemas.manifest import ManifestRecord
from schemas.metrics import MetricsEvent, QualityAlert
from schemas.settings import Settings
from schemas.settings.quality import QualitySettings
from serve_app.router.results import Result
from serve_app.telemetry import definitions as defined
from tests.workers.stream.support import (
    StandInRouter,
    done,
    manifest,
    produce,
    read_all,
    running_worker,
    settings_for,
    transcript_of,
    wait_until,
)
from workers.broker.cluster import Cluster
from workers.quality.gauges import Gauge
from workers.stream.worker import StreamWorker

pytestmark = pytest.mark.kafka

_WORDS = 10


class Worsening(StandInRouter):
    """A Router whose model makes more errors on demand.

    Attributes:
        wer: its word error rate.
    """

    def __init__(self) -> None:
        super().__init__()
        self.wer = 0.08
        self._rng = np.random.default_rng(0)

    async def answer(self, records: Sequence[ManifestRecord]) -> list[Result]:
        return [self._heard(record) for record in records]

    def _heard(self, record: ManifestRecord) -> Result:
        errors = int(self._rng.binomial(_WORDS, self.wer))
        scores: dict[str, Any] = {"wer": 100.0 * errors / _WORDS, "word_errors": errors}
        return transcript_of(record, reference_words=_WORDS, **scores)


class Shown:
    """What the worker was told to show last."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, tuple[str, ...]], float] = {}
        self.looks = 0

    def take(self, gauges: Sequence[Gauge]) -> None:
        self.values |= {(each.metric.name, each.labels): each.value for each in gauges}
        self.looks += 1

    def verdict(self, domain: str, verdict: str) -> float | None:
        return self.values.get((defined.QUALITY_VERDICT.name, ("general", domain, verdict)))


@pytest.fixture
def settings(kafka: Cluster, unique: Callable[[str], str]) -> Settings:
    quality = QualitySettings(every_s=0.3, reference=200, domains=["calls"])
    options: dict[str, Any] = {"quality": quality, "batch_records": 50, "batches_in_flight": 1}
    return settings_for(kafka.bootstrap, unique, **options)


def _send(settings: Settings, first: int, count: int) -> None:
    numbers = range(first, first + count)
    produce(settings, (manifest(f"r{number}", domain="calls") for number in numbers))


def _alerts(settings: Settings) -> list[QualityAlert]:
    events = (
        msgspec.json.decode(each.value, type=MetricsEvent)
        for each in read_all(settings, settings.kafka.topics.metrics)
    )
    return [each.alert for each in events if each.alert]


def _jobs() -> list[psutil.Process]:
    return [each for each in psutil.Process().children() if _is_job(each)]


def _is_job(process: psutil.Process) -> bool:
    try:
        return "workers.quality.process" in process.cmdline()
    except psutil.Error:  # it has ended
        return False


def test_a_model_that_gets_worse_is_told_once_also_by_another_job(settings: Settings) -> None:
    router, shown = Worsening(), Shown()
    worker = StreamWorker(settings, router)
    worker.on_quality(shown.take)
    with running_worker(worker):
        _send(settings, 0, 600)
        wait_until(lambda: done(worker) == 600 and shown.verdict("calls", "stable") == 1)
        assert shown.verdict("calls", "worse") == 0
        assert not _alerts(settings)
        router.wer = 0.3
        _send(settings, 600, 400)
        wait_until(lambda: shown.verdict("calls", "worse") == 1)
        looks = shown.looks
        wait_until(lambda: shown.looks > looks + 2)
        value = shown.values[defined.QUALITY_VALUE.name, ("general", "calls", "wer")]
        assert value == pytest.approx(0.3, abs=0.05)
        (alert,) = _alerts(settings)
        (job,) = _jobs()
        job.kill()
        wait_until(lambda: shown.verdict("calls", "worse") != 1, what="nobody to look")
        wait_until(lambda: shown.verdict("calls", "worse") == 1, what="another one")
        assert _alerts(settings) == [alert], "who starts anew looks at what was told"
    assert all(math.isnan(value) for value in shown.values.values()), "nobody looks any more"
    assert not _jobs()
    assert (alert.status, alert.cause) == ("worse", "model")
    (wer,) = (each for each in alert.measures if each.name == "wer")
    assert wer.before < 0.12 < 0.2 < wer.after
