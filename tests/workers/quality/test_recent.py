"""How models do at the moment, by the topics of a real broker."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
import pytest

from schemas.settings import Settings
from schemas.transcript import encode_transcript
from tests.workers.quality.test_summary import event, records
from tests.workers.stream.support import settings_for
from workers.broker.cluster import Cluster
from workers.cli.performance import performance_of, performance_parts, seldom
from workers.cli.tables import people_console
from workers.kafka.clients import make_producer
from workers.quality import recent
from workers.quality.recent import MOST, Performance

pytestmark = pytest.mark.kafka


def _produce(settings: Settings, wer: float, count: int, start: float) -> None:
    topics = settings.kafka.topics
    with make_producer(settings.kafka) as producer:
        for transcript, seconds in records(wer, count):
            assert seconds is not None
            producer.send(
                topics.transcripts,
                value=encode_transcript(transcript),
                timestamp_ms=int(1000 * (start + seconds)),
            )
        producer.send(topics.transcripts, value=b"not ours", timestamp_ms=int(1000 * start))


def test_the_latest_transcripts_are_summed_up_by_model(
    kafka: Cluster,
    unique: Callable[[str], str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recent, "_WITHIN_S", 30.0)  # however busy this machine is
    settings = settings_for(kafka.bootstrap, unique)
    now = time.time()
    assert performance_of(settings) is None
    assert performance_parts(None) == []
    _produce(settings, 0.5, 100, now - 2 * 3600)
    _produce(settings, 0.1, 1600, now - 500)
    counted = [event(1600, 32), msgspec.structs.replace(event(0, 3), model="")]
    with make_producer(settings.kafka) as producer:
        for each in (msgspec.structs.replace(counted[0], model="general"), counted[1]):
            producer.send(settings.kafka.topics.metrics, value=msgspec.json.encode(each))

    found = performance_of(settings)
    assert isinstance(found, Performance)
    assert 0 < now - found.since < 510, "what is older than an hour is left out"
    summary = found.models["general"]
    assert summary["total_samples"] == 1600 <= MOST
    assert summary["samples_per_second"] == pytest.approx(4, rel=0.01)
    assert summary["average_processing_time"] == pytest.approx(0.008)
    assert summary["error_rate"] == pytest.approx(32 / 1632)
    assert summary["quality_metrics"]["mean_wer"] == pytest.approx(10, abs=1)
    assert summary["quality_metrics"]["quality_trend"] == "stable"
    assert found.unrouted == 3

    capsys.readouterr()
    for part in performance_parts(found):
        people_console().print(part)
    head, row, times = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["transcripts", "of", "records"]
    assert row.split()[:5] == ["general", "1,600", "4.0", "0.008", "2.0%"]
    assert "stable (-" in row
    assert times.endswith("UTC; 3 dead letters reached no model")


def test_without_a_topic_the_reason_is_shown(
    kafka: Cluster, unique: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_for(kafka.bootstrap, unique)
    settings.kafka.topics.transcripts = unique("nowhere")
    looks: list[str | Performance | None] = []

    def look(of: Settings) -> str | Performance | None:
        looks.append(performance_of(of))
        return looks[-1]

    again = seldom(look)
    assert again(settings) == again(settings)
    (said,) = looks
    assert isinstance(said, str)
    people_console().print(*performance_parts(said))
    assert capsys.readouterr().out.startswith("transcripts: there is no topic `nowhere")
