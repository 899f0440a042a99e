"""A stream whose model gets worse tells of it by itself, on a real broker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from schemas.manifest import ManifestRecord
from schemas.metrics import MetricsEvent, QualityAlert
from schemas.settings import Settings, StatusSettings
from schemas.settings.quality import QualitySettings
from serve_app.router.results import Result
from serve_app.telemetry import definitions as defined
from serve_app.telemetry.definitions import Metric
from tests.workers.stream.support import (
    StandInRouter,
    done,
    manifest,
    produce,
    quality_jobs,
    read_all,
    running_worker,
    settings_for,
    transcript_of,
    wait_until,
)
from workers.broker.cluster import Cluster
from workers.stream.monitoring import monitored
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
    """What a worker's port shows of its quality."""

    def __init__(self, port: int | None) -> None:
        self._url = f"http://127.0.0.1:{port}/metrics"

    def values(self, metric: Metric) -> dict[tuple[str, ...], float]:
        """By the values of its labels."""
        return {
            tuple(sample.labels[label] for label in metric.labels): sample.value
            for family in text_string_to_metric_families(httpx.get(self._url).text)
            for sample in family.samples
            if sample.name == metric.prometheus_name
        }

    def verdict(self, domain: str = "calls") -> str:
        """What is said of the model; empty if nothing is."""
        found = self.values(defined.QUALITY_VERDICT).items()
        return "".join(verdict for (_, of, verdict), value in found if of == domain and value == 1)


@pytest.fixture
def settings(kafka: Cluster, unique: Callable[[str], str]) -> Settings:
    quality = QualitySettings(every_s=0.3, reference=200, domains=["calls"])
    status = StatusSettings(port=0)
    options: dict[str, Any] = {"quality": quality, "status": status, "batch_records": 50}
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


def test_a_model_that_gets_worse_is_told_once_also_by_another_job(settings: Settings) -> None:
    router = Worsening()
    worker = StreamWorker(settings, router)
    with monitored(worker, "a", settings) as port:
        shown = Shown(port)
        with running_worker(worker):
            _send(settings, 0, 600)
            wait_until(lambda: done(worker) == 600 and shown.verdict() == "stable")
            assert not _alerts(settings)
            router.wer = 0.3
            _send(settings, 600, 400)
            wait_until(lambda: shown.verdict() == "worse")
            wait_until(lambda: shown.values(defined.QUALITY_RECORDS)["general", "calls"] == 1000)
            value = shown.values(defined.QUALITY_VALUE)["general", "calls", "wer"]
            assert value == pytest.approx(0.3, abs=0.05)
            (alert,) = _alerts(settings)
            (job,) = quality_jobs()
            job.kill()
            wait_until(lambda: not shown.verdict(), what="nobody to look")
            wait_until(lambda: shown.verdict() == "worse", what="another one")
            assert _alerts(settings) == [alert], "who starts anew looks at what was told"
        assert not any(shown.values(defined.QUALITY_RECORDS).values())
        assert not quality_jobs()
    assert (alert.status, alert.cause) == ("worse", "model")
    (wer,) = (each for each in alert.measures if each.name == "wer")
    assert wer.before < 0.12 < 0.2 < wer.after
