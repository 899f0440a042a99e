from __future__ import annotations

import random
import string
from collections.abc import Callable, Iterator

import pytest
from kafka import OffsetAndMetadata, TopicPartition
from kafka.admin import ConfigResource
from kafka.structs import ConsumerGroupMetadata

from schemas.settings import Settings, SettingsError
from tests.workers.stream.support import (
    a_pending_record,
    committed,
    dead_letters,
    manifest_of,
    settings_for,
    transcript_ids,
    transcript_of,
)
from workers.broker.cluster import Cluster
from workers.kafka.broker_clients import BrokerClients
from workers.kafka.clients import make_admin
from workers.kafka.topics import ensure_topics
from workers.stream.offset_tracker import CompletedPrefix
from workers.stream.publisher import Publisher, PublishError
from workers.stream.watchdog import Watchdog

pytestmark = pytest.mark.kafka


@pytest.fixture
def watchdog() -> Iterator[Watchdog]:
    watchdog = Watchdog(120)
    yield watchdog
    watchdog.stop()


def a_publisher(settings: Settings, watchdog: Watchdog, instance: str = "0") -> Publisher:
    clients = BrokerClients(settings.kafka)
    publisher = Publisher(clients, settings.kafka, settings.stream, instance, watchdog)
    publisher.open()
    return publisher


def taken(settings: Settings, *names: str, notes: str = "") -> CompletedPrefix:
    partition = TopicPartition(settings.kafka.topics.manifests, 0)
    records = []
    for offset, name in enumerate(names):
        record = a_pending_record(name, topic=partition.topic, offset=offset)
        manifest = manifest_of(record)
        manifest.extra = {"notes": notes}
        record.outcome = transcript_of(manifest)
        records.append(record)
    return CompletedPrefix(records, {partition: OffsetAndMetadata(len(records), "", -1)})


def limit_messages(settings: Settings, topic: str, max_bytes: int) -> None:
    """Let `topic` refuse larger batches from now on."""
    configs = {"max.message.bytes": str(max_bytes)}
    with make_admin(settings.kafka) as admin:
        admin.alter_configs([ConfigResource("TOPIC", topic, configs)], incremental=True)


def outside_a_group(settings: Settings) -> ConsumerGroupMetadata:
    return ConsumerGroupMetadata(group_id=settings.kafka.group)


def test_outputs_and_offsets_appear_together(
    kafka: Cluster, unique: Callable[[str], str], watchdog: Watchdog
) -> None:
    settings = settings_for(kafka.bootstrap, unique)
    publisher = a_publisher(settings, watchdog)
    publisher.publish(taken(settings, "a", "b"), outside_a_group(settings)).result(timeout=30)
    assert transcript_ids(settings) == {"a": 1, "b": 1}
    assert committed(settings) == {0: 2}
    publisher.close()


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
def test_one_message_that_is_not_accepted_fails_the_whole(
    kafka: Cluster, unique: Callable[[str], str], watchdog: Watchdog, guarantee: str
) -> None:
    settings = settings_for(kafka.bootstrap, unique, guarantee=guarantee)
    narrow = settings.kafka.topics.transcripts = unique("narrow")
    ensure_topics(kafka.bootstrap, {narrow: 1})
    publisher = a_publisher(settings, watchdog)
    limit_messages(settings, narrow, 40_000)  # the publisher asked for the limit when it opened
    noise = "".join(random.Random(1).choices(string.printable, k=60_000))  # hard to compress
    large = taken(settings, "a", notes=noise)
    failing = publisher.publish(large, outside_a_group(settings))
    with pytest.raises(PublishError, match="TooLarge"):
        failing.result(timeout=60)
    assert committed(settings) == {}
    with pytest.raises(PublishError, match="no producer"):
        publisher.publish(taken(settings, "b"), outside_a_group(settings)).result(timeout=30)
    publisher.open()  # and asks again: what was too large is a dead letter now
    publisher.publish(large, outside_a_group(settings)).result(timeout=30)
    publisher.publish(taken(settings, "b"), outside_a_group(settings)).result(timeout=30)
    assert transcript_ids(settings) == {"b": 1}
    assert [letter.value for letter in dead_letters(settings)] == [large.records[0].message.value]
    publisher.close()


def test_a_topic_too_narrow_for_any_dead_letter_is_refused(
    kafka: Cluster, unique: Callable[[str], str], watchdog: Watchdog
) -> None:
    settings = settings_for(kafka.bootstrap, unique)
    narrow = settings.kafka.topics.dead_letters = unique("narrow")
    ensure_topics(kafka.bootstrap, {narrow: 1}, configs={narrow: {"max.message.bytes": "20000"}})
    with pytest.raises(SettingsError, match=f"{narrow} holds 20000 bytes"):
        a_publisher(settings, watchdog)


def test_a_newer_publisher_of_the_same_name_fences_the_older(
    kafka: Cluster, unique: Callable[[str], str], watchdog: Watchdog
) -> None:
    settings = settings_for(kafka.bootstrap, unique)
    old = a_publisher(settings, watchdog)
    new = a_publisher(settings, watchdog)
    with pytest.raises(PublishError, match="ProducerFenced"):
        old.publish(taken(settings, "a"), outside_a_group(settings)).result(timeout=30)
    new.publish(taken(settings, "a"), outside_a_group(settings)).result(timeout=30)
    assert transcript_ids(settings) == {"a": 1}
    old.close()
    new.close()


def test_offsets_of_a_member_that_is_gone_are_refused_with_their_outputs(
    kafka: Cluster, unique: Callable[[str], str], watchdog: Watchdog
) -> None:
    settings = settings_for(kafka.bootstrap, unique)
    publisher = a_publisher(settings, watchdog)
    stranger = ConsumerGroupMetadata(settings.kafka.group, 3, "nobody", "instance")
    with pytest.raises(PublishError, match="CommitFailed"):
        publisher.publish(taken(settings, "a"), stranger).result(timeout=30)
    assert transcript_ids(settings) == {}
    assert committed(settings) == {}
    publisher.close()
