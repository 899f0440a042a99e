"""Making topics."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import InvalidReplicationFactorError, InvalidTopicError

from workers.broker.cluster import Cluster
from workers.kafka.topics import ensure_topics

pytestmark = pytest.mark.kafka


def test_topics_are_made_once(kafka: Cluster, unique: Callable[[str], str]) -> None:
    first, second = unique("first"), unique("second")
    assert ensure_topics(kafka.bootstrap, {first: 3}, 1) == {first: 3}
    # the one that exists keeps its partitions
    assert ensure_topics(kafka.bootstrap, {first: 6, second: 2}) == {first: 3, second: 2}


def test_no_topics(kafka: Cluster) -> None:
    assert ensure_topics(kafka.bootstrap, {}) == {}


def test_several_at_once(kafka: Cluster, unique: Callable[[str], str]) -> None:
    wanted = {unique("shared"): 2, unique("shared"): 4}
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: ensure_topics(kafka.bootstrap, wanted), range(4)))
    assert made == [wanted] * 4


def test_topic_configs_and_client_options(kafka: Cluster, unique: Callable[[str], str]) -> None:
    name = unique("short")
    # fetch_max_bytes is an option of consumers, which the admin client does not know
    options = {"client_id": "chorus-test", "fetch_max_bytes": 1 << 20}
    ensure_topics(
        kafka.bootstrap_servers, {name: 1}, 1, options, configs={name: {"retention.ms": "3600000"}}
    )
    with KafkaAdminClient(bootstrap_servers=kafka.bootstrap) as admin:
        configs = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    assert configs["topic"][name]["retention.ms"]["value"] == "3600000"


def test_a_refused_topic_is_named(kafka: Cluster, unique: Callable[[str], str]) -> None:
    good, bad = unique("good"), "not a topic name!"
    with pytest.raises(InvalidTopicError, match="not a topic name!"):
        ensure_topics(kafka.bootstrap, {good: 1, bad: 1})
    assert ensure_topics(kafka.bootstrap, {good: 1}) == {good: 1}
    with pytest.raises(InvalidReplicationFactorError):
        ensure_topics(kafka.bootstrap, {unique("replicated"): 1}, replication=3)
