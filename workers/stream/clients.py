"""Where every Kafka client of Chorus is made, from the settings and with safe defaults."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import ConfigResource
from kafka.errors import KafkaConnectionError, KafkaTimeoutError
from kafka.net.compat import KafkaNetClient

from schemas.settings import KafkaSettings, SettingsError, client_options

#: Options that decide the guarantees; a setting may not change them.
RESERVED = frozenset(
    {
        "bootstrap_servers",
        "group_id",
        "group_instance_id",
        "transactional_id",
        "enable_auto_commit",
        "enable_idempotence",
        "isolation_level",
        "acks",
        "key_serializer",
        "value_serializer",
        "key_deserializer",
        "value_deserializer",
    }
)

_CLIENTS = (KafkaConsumer, KafkaProducer, KafkaAdminClient)

#: The longest pause between two attempts to reach a broker: kafka-python's 30 s would add up to
#: half a minute to every restart of a broker.
_RECONNECT_MAX_MS = 2_000

_LIMIT = "max.message.bytes"


class _SteadyClient(KafkaNetClient):
    """The network client of the producers, with a loss in kafka-python 3.0.12 mended.

    `Sender._maybe_send_pending_request` takes an error of `await_ready` and drops the
    transactional request that it was about to send; False makes it look for the coordinator and
    send the request again. A lost request leaves `flush` and `commit_transaction` waiting, and
    the sender's thread turning without a pause, long after the broker is back.
    """

    def await_ready(self, node_id: Any, timeout_ms: float = 30_000) -> bool:
        try:
            return bool(super().await_ready(node_id, timeout_ms))
        except KafkaConnectionError:
            return False


class KafkaUnreachableError(ConnectionError):
    """No broker answered; the message names the servers."""


def make_consumer(kafka: KafkaSettings, *, group_id: str | None, **options: Any) -> KafkaConsumer:
    """A consumer of committed records from the earliest offset on, without auto-commit.

    Blocks until a broker answers, at most `bootstrap_timeout_ms` (30 s).

    Args:
        group_id: consumer group; None for reading without one.
        options: further options of kafka-python's consumer; they win over the settings.

    Raises:
        KafkaUnreachableError: no broker answered.
        SettingsError: an option of `kafka.client` is unknown, reserved, or a secret is not set.
    """
    defaults = {
        "isolation_level": "read_committed",
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "allow_auto_create_topics": False,
    }
    return _make(KafkaConsumer, kafka, defaults, {"group_id": group_id, **options})


def make_producer(kafka: KafkaSettings, **options: Any) -> KafkaProducer:
    """An idempotent producer that waits for all in-sync replicas.

    With `transactional_id` it is transactional; the caller calls `init_transactions()`. Blocks
    and raises like `make_consumer`.
    """
    defaults = {
        "acks": "all",
        "compression_type": "lz4",
        "allow_auto_create_topics": False,
        "kafka_client": _SteadyClient,
    }
    return _make(KafkaProducer, kafka, defaults, options)


def make_admin(kafka: KafkaSettings, **options: Any) -> KafkaAdminClient:
    """An admin client. Blocks and raises like `make_consumer`."""
    return _make(KafkaAdminClient, kafka, {}, options)


def missing_topics(kafka: KafkaSettings, topics: Iterable[str]) -> list[str]:
    """Those of `topics` that do not exist. Blocks and raises like `make_consumer`."""
    with make_admin(kafka) as admin:
        existing = set(admin.list_topics())
    return [topic for topic in topics if topic not in existing]


def message_limits(kafka: KafkaSettings, topics: Iterable[str]) -> dict[str, int]:
    """Largest message in bytes that each of `topics` accepts: its `max.message.bytes`.

    A topic whose configuration we may not read is left out. Blocks and raises like
    `make_consumer`.
    """
    wanted = [ConfigResource("TOPIC", topic, {_LIMIT: None}) for topic in topics]
    with make_admin(kafka) as admin:
        configs = admin.describe_configs(wanted, config_filter="all").get("topic", {})
    return {topic: int(found[_LIMIT]["value"]) for topic, found in configs.items() if found}


def static_member(kafka: KafkaSettings, instance_id: str) -> str | None:
    """Id of the member that holds `instance_id` in the group now; None where none does.

    Blocks and raises like `make_consumer`.
    """
    with make_admin(kafka) as admin:
        members = admin.describe_groups([kafka.group])[kafka.group]["members"]
    holders = [m["member_id"] for m in members if m["group_instance_id"] == instance_id]
    return holders[0] if holders else None


def _make(
    client: Any, kafka: KafkaSettings, defaults: dict[str, Any], options: dict[str, Any]
) -> Any:
    given = client_options(kafka)
    for key in given:
        if key in RESERVED:
            raise SettingsError(f"kafka.client.{key}: is set by Chorus; remove it")
        if not any(key in each.DEFAULT_CONFIG for each in _CLIENTS):
            raise SettingsError(f"kafka.client.{key}: kafka-python has no such option")
    merged = {"reconnect_backoff_max_ms": _RECONNECT_MAX_MS, **defaults, **given}
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
