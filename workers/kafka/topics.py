"""Topics that must exist before anything reads or writes them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from kafka import KafkaAdminClient
from kafka.errors import KafkaTimeoutError, TopicAlreadyExistsError, for_code

from schemas.settings import KafkaSettings
from workers.kafka.clients import make_admin
from workers.kafka.topic_state import describe

_READY_TIMEOUT_S = 30.0
_POLL_S = 0.05


def ensure_settings_topics(
    kafka: KafkaSettings, partitions: int, replication: int | None = None
) -> dict[str, int]:
    """`ensure_topics` for the topics that the settings name.

    Args:
        kafka: the settings' section.
        partitions: of manifests and transcripts; metrics and dead letters have one.
        replication: replicas of each partition; None for the broker's default.

    Raises:
        KafkaUnreachableError, SettingsError: as `workers.kafka.clients.make_consumer`.
        kafka.errors.KafkaError: the broker refuses a topic.
    """
    topics = {
        kafka.topics.manifests: partitions,
        kafka.topics.transcripts: partitions,
        kafka.topics.metrics: 1,
        kafka.topics.dead_letters: 1,
    }
    return _ensure(kafka, topics, replication, {})


def ensure_topics(
    bootstrap: str | list[str],
    topics: Mapping[str, int],
    replication: int | None = None,
    options: Mapping[str, Any] | None = None,
    configs: Mapping[str, Mapping[str, str]] | None = None,
) -> dict[str, int]:
    """Create those of `topics` that do not exist and wait until every partition has a leader.

    A topic that exists is left as it is, whatever its number of partitions. Safe to call from
    several processes at once.

    Args:
        bootstrap: bootstrap servers, as for any client.
        topics: number of partitions by topic name.
        replication: replicas of each new partition; None takes the broker's default.
        options: further options of kafka-python's clients, as `kafka.client` in the settings.
        configs: topic configs of new topics, by topic name, such as
            `{"asr.metrics": {"retention.ms": "3600000"}}`.

    Returns:
        The number of partitions that each topic has now.

    Raises:
        KafkaUnreachableError, SettingsError: as `workers.kafka.clients.make_consumer`.
        kafka.errors.KafkaError: the broker refuses a topic.
    """
    servers = bootstrap.split(",") if isinstance(bootstrap, str) else bootstrap
    kafka = KafkaSettings(bootstrap_servers=servers, client=dict(options or {}))
    return _ensure(kafka, topics, replication, configs or {})


def _ensure(
    kafka: KafkaSettings,
    topics: Mapping[str, int],
    replication: int | None,
    configs: Mapping[str, Mapping[str, str]],
) -> dict[str, int]:
    if not topics:
        return {}
    with make_admin(kafka) as admin:
        existing = describe(admin, topics)
        new = {
            name: {
                "num_partitions": partitions,
                "replication_factor": -1 if replication is None else replication,
                "configs": dict(configs.get(name, {})),
            }
            for name, partitions in topics.items()
            if name not in existing
        }
        if new:
            _raise_refusals(admin.create_topics(new, raise_errors=False)["topics"])
        return _wait_for_leaders(admin, list(topics))


def _wait_for_leaders(admin: KafkaAdminClient, names: list[str]) -> dict[str, int]:
    """The number of partitions of each topic, once every partition has a leader.

    `wait_for_topics` of the admin client does not say the number, and asking for it afterwards
    may reach another broker, which has not heard of the topic yet.
    """
    deadline = time.monotonic() + _READY_TIMEOUT_S
    while True:
        found = admin.describe_topics(names)
        ready = {
            topic["name"]: len(topic["partitions"])
            for topic in found
            if topic["error_code"] == 0
            and topic["partitions"]
            and all(partition["leader_id"] >= 0 for partition in topic["partitions"])
        }
        if len(ready) == len(names):
            return ready
        if time.monotonic() > deadline:
            missing = ", ".join(sorted(set(names) - ready.keys()))
            raise KafkaTimeoutError(f"no leader after {_READY_TIMEOUT_S:.0f} s for: {missing}")
        time.sleep(_POLL_S)


def _raise_refusals(results: Iterable[Mapping[str, Any]]) -> None:
    """One error that names every refused topic; created meanwhile by another is fine."""
    refused = [
        (for_code(result["error_code"]), result)
        for result in results
        if result["error_code"] not in (0, TopicAlreadyExistsError.errno)
    ]
    if refused:
        reasons = [
            f"{result['name']}: {result.get('error_message') or error.__name__}"
            for error, result in refused
        ]
        raise refused[0][0]("Cannot create topics: " + "; ".join(reasons))
