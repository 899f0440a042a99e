"""What a topic is like, and what this user may do with it, as far as the brokers tell."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource
from kafka.errors import TopicAuthorizationFailedError, UnknownTopicOrPartitionError, for_code

from schemas.settings import KafkaSettings
from workers.kafka.clients import make_admin

_CONFIGS = ("max.message.bytes", "cleanup.policy", "min.insync.replicas")


class TopicState(msgspec.Struct, kw_only=True, frozen=True):
    """A topic that exists.

    Attributes:
        partitions: how many it has.
        replicas: of each partition; of the one with the fewest where they differ.
        rights: what this user may do, by Kafka's names such as "READ"; None where the brokers do
            not tell.
        max_message_bytes: the largest message that it accepts.
        compacted: whether older messages of a key are deleted (`cleanup.policy`).
        min_in_sync: how many replicas must have a message before it is acknowledged.

    The last three are None or False where the configuration may not be read.
    """

    partitions: int
    replicas: int
    rights: frozenset[str] | None = None
    max_message_bytes: int | None = None
    compacted: bool = False
    min_in_sync: int | None = None


def topic_states(kafka: KafkaSettings, topics: Iterable[str]) -> dict[str, TopicState | None]:
    """The state of each of `topics`; None for one that does not exist.

    Blocks and raises like `workers.kafka.clients.make_consumer`.

    Raises:
        kafka.errors.TopicAuthorizationFailedError: this user may not describe one of them, so it
            is not known whether it exists.
    """
    names = list(dict.fromkeys(topics))
    with make_admin(kafka) as admin:
        found = describe(admin, names)
        wanted = [ConfigResource("TOPIC", name, dict.fromkeys(_CONFIGS)) for name in found]
        configs = (
            admin.describe_configs(wanted, config_filter="all").get("topic", {}) if wanted else {}
        )
    return {
        name: _state(found[name], configs.get(name, {})) if name in found else None
        for name in names
    }


def describe(admin: KafkaAdminClient, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What `KafkaAdminClient.describe_topics` says of those of `names` that exist.

    Raises:
        kafka.errors.KafkaError: as `topic_states`, or a broker has trouble with one of them.
    """
    found: dict[str, dict[str, Any]] = {}
    refused: set[str] = set()
    for topic in admin.describe_topics(list(names)):
        error = for_code(topic["error_code"])
        if error is TopicAuthorizationFailedError:
            refused.add(topic["name"])
        elif topic["partitions"]:
            found[topic["name"]] = topic
        elif error is not UnknownTopicOrPartitionError:
            raise error(topic["name"])
    if refused:
        raise describing_refused(refused)
    return found


def describing_refused(topics: Iterable[str]) -> TopicAuthorizationFailedError:
    """The error for topics that this user may not describe."""
    return TopicAuthorizationFailedError(
        f"this user may not describe {', '.join(sorted(topics))}, so it is not known whether "
        "that exists"
    )


def _state(topic: dict[str, Any], configs: dict[str, Any]) -> TopicState:
    values = {key: config["value"] for key, config in configs.items()}
    rights = topic.get("authorized_operations")
    largest, in_sync = values.get("max.message.bytes"), values.get("min.insync.replicas")
    return TopicState(
        partitions=len(topic["partitions"]),
        replicas=min(len(each["replica_nodes"]) for each in topic["partitions"]),
        rights=frozenset(rights) if rights is not None else None,
        max_message_bytes=int(largest) if largest is not None else None,
        compacted="compact" in (values.get("cleanup.policy") or ""),
        min_in_sync=int(in_sync) if in_sync is not None else None,
    )
