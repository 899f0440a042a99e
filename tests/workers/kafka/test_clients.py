from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from schemas.settings import FromEnvironment, KafkaSettings, SettingsError
from workers.broker.cluster import Cluster
from workers.broker.ports import free_ports
from workers.kafka.clients import (
    KafkaUnreachableError,
    make_admin,
    make_consumer,
    make_producer,
)
from workers.kafka.reader import read_topic


def settings(bootstrap: str, **client: Any) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=[bootstrap], client=client)


@pytest.mark.kafka
def test_options_go_to_the_clients_that_know_them(kafka: Cluster) -> None:
    given = settings(
        kafka.bootstrap, linger_ms=7, fetch_max_wait_ms=90, security_protocol="PLAINTEXT"
    )
    producer = make_producer(given)
    consumer = make_consumer(given, group_id=None)
    admin = make_admin(given)
    assert producer.config["linger_ms"] == 7
    assert consumer.config["fetch_max_wait_ms"] == 90
    assert consumer.config["isolation_level"] == "read_committed"
    for client in (producer, consumer, admin):
        assert client.config["security_protocol"] == "PLAINTEXT"
        client.close()


@pytest.mark.kafka
def test_a_secret_comes_from_the_environment(
    kafka: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_PASSWORD", "secret")
    given = settings(kafka.bootstrap, sasl_plain_password=FromEnvironment(env="THE_PASSWORD"))
    admin = make_admin(given)
    assert admin.config["sasl_plain_password"] == "secret"
    admin.close()
    monkeypatch.delenv("THE_PASSWORD")
    with pytest.raises(SettingsError, match="THE_PASSWORD"):
        make_admin(given)


@pytest.mark.parametrize("key", ["acks", "isolation_level", "group_id", "transactional_id"])
def test_what_the_guarantee_rests_on_is_not_a_setting(key: str) -> None:
    with pytest.raises(SettingsError, match=key):
        make_producer(settings("127.0.0.1:1", **{key: "x"}))


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(SettingsError, match="sasl_passwort"):
        make_consumer(settings("127.0.0.1:1", sasl_passwort="x"), group_id=None)


def test_no_broker_is_a_clear_error() -> None:
    (port,) = free_ports(1)
    given = settings(f"127.0.0.1:{port}", bootstrap_timeout_ms=500)
    with pytest.raises(KafkaUnreachableError, match=f"127.0.0.1:{port}"):
        make_consumer(given, group_id=None)


@pytest.mark.kafka
@pytest.mark.parametrize("codec", ["gzip", "lz4", "snappy", "zstd"])
def test_what_producers_compress_with_every_codec_is_read(
    kafka: Cluster, make_topic: Callable[..., str], codec: str
) -> None:
    topic = make_topic()
    given = settings(kafka.bootstrap)
    producer = make_producer(given, compression_type=codec)
    producer.send(topic, value=b"x" * 10_000)
    producer.close()
    [message] = read_topic(given, topic)
    assert message is not None
    assert message.value == b"x" * 10_000
