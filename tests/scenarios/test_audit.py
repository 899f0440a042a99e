"""The audit finds what it is there to find, on a real broker."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from schemas.dead_letter import DeadLetter, to_headers
from schemas.failures import ErrorCode, FailureClass
from schemas.manifest import ManifestRecord, encode_manifest
from schemas.metrics import MetricsEvent
from schemas.settings import (
    AudioSettings,
    KafkaSettings,
    ModelSettings,
    Routing,
    Settings,
    Topics,
)
from tests.scenarios.audit import audit
from workers.broker.cluster import Cluster
from workers.kafka.clients import make_producer

pytestmark = pytest.mark.kafka


@pytest.fixture
def settings(
    kafka: Cluster, make_topic: Callable[..., str], unique: Callable[[str], str]
) -> Settings:
    topics = Topics(
        manifests=make_topic("manifests", partitions=2),
        transcripts=make_topic("transcripts", partitions=2),
        metrics=make_topic("metrics"),
        dead_letters=make_topic("letters"),
    )
    return Settings(
        models={"general": ModelSettings(pretrained="none")},
        routing=Routing(default="general"),
        audio=AudioSettings(roots=["."]),
        kafka=KafkaSettings(
            bootstrap_servers=kafka.bootstrap_servers, group=unique("group"), topics=topics
        ),
    )


def produce(settings: Settings, ids: list[str]) -> None:
    with make_producer(settings.kafka) as producer:
        for id_ in ids:
            record = ManifestRecord(id=id_, audio_filepath="a.wav")
            producer.send(settings.kafka.topics.manifests, value=encode_manifest(record))


def letter(id_: str) -> list[tuple[str, bytes]]:
    return to_headers(
        DeadLetter(
            id=id_,
            failure=FailureClass.POISON,
            code=ErrorCode.AUDIO_MISSING,
            message="",
            attempts=1,
            topic="t",
            partition=0,
            offset=0,
            group="g",
            timestamp=0.0,
        )
    )


def event(records: int) -> bytes:
    return msgspec.json.encode(
        MetricsEvent(
            worker="0",
            interval_start=0.0,
            interval_end=1.0,
            model="general",
            domain="",
            records=records,
            dead_letters=0,
            retries=0,
            audio_seconds=0.0,
            model_seconds=0.0,
            rtfx=None,
            latency=None,
            word_errors=0,
            reference_words=0,
            references=0,
            wer=None,
        )
    )


def test_a_loss_a_double_and_a_stranger_are_found(settings: Settings) -> None:
    produce(settings, ["fine", "lost", "double", "dead", "dead and alive"])
    topics = settings.kafka.topics
    with make_producer(settings.kafka) as producer:
        for id_ in ("fine", "double", "double", "stranger", "dead and alive"):
            producer.send(topics.transcripts, key=id_.encode(), value=b"{}")
        for id_ in ("dead", "dead and alive"):
            producer.send(topics.dead_letters, value=b"{}", headers=letter(id_))
        producer.send(topics.metrics, value=event(3))
    found = audit(settings, ["fine", "lost", "double", "dead", "dead and alive"])
    assert found.lost == ["lost"]
    assert found.duplicated == ["dead and alive", "double"]
    assert found.unknown == ["stranger"]
    assert found.dead_lettered == ["dead", "dead and alive"]
    assert (found.transcripts, found.counted) == (5, 3)
    assert found.uncommitted == 5
    assert len(found.faults()) == 6


def test_an_aborted_transcript_does_not_count_and_an_open_one_is_found(
    settings: Settings, unique: Callable[[str], str]
) -> None:
    produce(settings, ["a"])
    topics = settings.kafka.topics
    producer = make_producer(settings.kafka, transactional_id=unique("audit"))
    producer.init_transactions()
    producer.begin_transaction()
    producer.send(topics.transcripts, key=b"a", value=b"{}").get(10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.scenarios.audit._MARKERS_S", 0.5)  # it stays open for good
        during = audit(settings, ["a"])
    assert len(during.open_transactions) == 1
    assert during.lost == ["a"]
    producer.abort_transaction()
    producer.close()
    after = audit(settings, ["a"])
    assert after.open_transactions == []
    assert after.lost == ["a"]


def test_a_producer_that_repeats_itself_is_told_apart_from_the_worker(settings: Settings) -> None:
    produce(settings, ["a", "a"])
    found = audit(settings, ["a", "b"])
    assert found.produced_twice == ["a", "b"]
