"""Where every Kafka client of Chorus is made, from the settings and with safe defaults."""

from __future__ import annotations

from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError

from schemas.settings import KafkaSettings
from workers.kafka.client_settings import checked_options
from workers.kafka.workarounds import PatchedConsumer, PatchedNetClient, PatchedProducer

#: The longest pause between two attempts to reach a broker: kafka-python's 30 s would add up to
#: half a minute to every restart of a broker.
_RECONNECT_MAX_MS = 2_000
#: Longest wait for the first answer of a broker. kafka-python's 30 s are long at a terminal; a
#: supervisor starts a worker again.
_BOOTSTRAP_TIMEOUT_MS = 9_000


class KafkaUnreachableError(ConnectionError):
    """No broker answered; the message names the servers."""


def make_consumer(kafka: KafkaSettings, *, group_id: str | None, **options: Any) -> KafkaConsumer:
    """A consumer of committed records from the earliest offset on, without auto-commit.

    Blocks until a broker answers, at most `bootstrap_timeout_ms` (9 s).

    Args:
        kafka: the settings' section.
        group_id: consumer group; None for reading without one.
        options: further options of kafka-python's consumer; they win over the settings.

    Raises:
        KafkaUnreachableError: no broker answered.
        SettingsError: an option of `kafka.client` is wrong, or a secret is not set.
    """
    defaults = {
        "isolation_level": "read_committed",
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "allow_auto_create_topics": False,
    }
    return _make(PatchedConsumer, kafka, defaults, {"group_id": group_id, **options})


def make_producer(kafka: KafkaSettings, **options: Any) -> KafkaProducer:
    """An idempotent producer that waits for all in-sync replicas.

    With `transactional_id` it is transactional; the caller calls `init_transactions()`. Blocks
    and raises like `make_consumer`.
    """
    defaults = {
        "acks": "all",
        "compression_type": "lz4",
        "allow_auto_create_topics": False,
        "kafka_client": PatchedNetClient,
    }
    return _make(PatchedProducer, kafka, defaults, options)


def make_admin(kafka: KafkaSettings, **options: Any) -> KafkaAdminClient:
    """An admin client. Blocks and raises like `make_consumer`."""
    return _make(KafkaAdminClient, kafka, {}, options)


def running_brokers(bootstrap: str, timeout_ms: int) -> tuple[str, int] | None:
    """Id of the cluster at `bootstrap` and how many of its brokers are up; None without an answer.

    Args:
        bootstrap: addresses, separated by commas.
        timeout_ms: longest wait for a connection, and again for the answer.
    """
    try:
        with KafkaAdminClient(
            bootstrap_servers=bootstrap,
            bootstrap_timeout_ms=timeout_ms,
            request_timeout_ms=timeout_ms,
        ) as admin:
            cluster = admin.describe_cluster()
    except KafkaError:
        return None
    up = [each for each in cluster["brokers"] if not each.get("is_fenced")]
    return cluster["cluster_id"], len(up)


def _make(
    client: Any, kafka: KafkaSettings, defaults: dict[str, Any], options: dict[str, Any]
) -> Any:
    given = checked_options(kafka)
    common = {
        "bootstrap_timeout_ms": _BOOTSTRAP_TIMEOUT_MS,
        "reconnect_backoff_max_ms": _RECONNECT_MAX_MS,
    }
    merged = {**common, **defaults, **given}
    known = {key: value for key, value in merged.items() if key in client.DEFAULT_CONFIG}
    try:
        return client(bootstrap_servers=kafka.bootstrap_servers, **{**known, **options})
    except (KafkaTimeoutError, KafkaConnectionError) as error:
        servers = ", ".join(kafka.bootstrap_servers)
        # kafka-python tries a refused login again until time is up, and then forgets the reason
        secured = ", or none accepts what `kafka.client` says" if given else ""
        raise KafkaUnreachableError(
            f"no Kafka broker answers at {servers}{secured} ({error})"
        ) from error
