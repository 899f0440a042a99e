"""What is read of a real broker."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from schemas.settings import KafkaSettings
from tests.workers.kafka.clients import write
from workers.broker.cluster import Cluster
from workers.console.place import Place
from workers.console.topics import KafkaTopics
from workers.kafka.reader import UnknownTopicError

pytestmark = pytest.mark.kafka


def test_committed_messages_are_followed_and_found_again(
    kafka: Cluster, make_topic: Callable[..., str]
) -> None:
    topic = make_topic("transcripts")
    write(kafka.bootstrap, topic, [b"0", b"1", b"2"])  # the marker of the commit is at 3
    write(kafka.bootstrap, topic, [b"given up"], commit=False)  # 4, and its marker 5
    topics = KafkaTopics(KafkaSettings(bootstrap_servers=[kafka.bootstrap]))
    following = (message for message in topics.follow(topic, last=5) if message is not None)
    assert [next(following).value, next(following).value] == [b"1", b"2"]
    write(kafka.bootstrap, topic, [b"6"])
    assert next(following).value == b"6"
    found = topics.message(Place(topic, 0, 2))
    assert found is not None
    assert found.value == b"2"
    for offset in (3, 4, 5, 7, 99):
        assert topics.message(Place(topic, 0, offset)) is None
    assert topics.message(Place(topic, 1, 0)) is None


def test_a_topic_that_is_not_there_is_named(kafka: Cluster, unique: Callable[[str], str]) -> None:
    topics = KafkaTopics(KafkaSettings(bootstrap_servers=[kafka.bootstrap]))
    with pytest.raises(UnknownTopicError, match="chorus topics"):
        topics.message(Place(unique("gone"), 0, 0))
