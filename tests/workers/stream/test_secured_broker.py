"""Brokers that ask for TLS and a password, told by `kafka.client` alone, and that know rights."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from kafka.admin import ACLOperation, ResourceType

from schemas.settings import FromEnvironment, Settings
from tests.conftest import RIGHTS
from tests.workers.cli.shell import Shell
from tests.workers.stream import acl_commands
from tests.workers.stream.support import (
    StandInRouter,
    committed,
    done,
    end_offsets,
    manifest,
    partitions_of,
    produce,
    running,
    settings_for,
    settings_of,
    transcript_ids,
    wait_until,
)
from workers import exit_codes
from workers.broker.cluster import Cluster
from workers.broker.ports import HOST, free_ports
from workers.kafka.clients import KafkaUnreachableError, make_admin, make_consumer
from workers.kafka.topics import ensure_topics
from workers.stream.worker import StreamWorker

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

PASSWORD = "correct horse"
#: `chorus` may do everything, the others what docs/operations.md gives them.
USERS = ("chorus", "worker", "producer", "reader", "operator", "watcher")


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for `HOST`: alone, and together with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "broker")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "ca.pem").write_bytes(pem)
    (folder / "broker.pem").write_bytes(private + pem)
    return folder / "ca.pem", folder / "broker.pem"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, Any]]]:
    """A broker whose second listener is SASL over TLS: its plain address, and `kafka` for it."""
    authority, both = self_signed(tmp_path_factory.mktemp("certificates"))
    plain, secure, controller = free_ports(3)
    mine = "listener.name.secure"
    config = {
        "listeners": f"PLAINTEXT://{HOST}:{plain},SECURE://{HOST}:{secure},"
        f"CONTROLLER://{HOST}:{controller}",
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{plain},SECURE://{HOST}:{secure}",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": (
            "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL"
        ),
        f"{mine}.ssl.keystore.type": "PEM",
        f"{mine}.ssl.keystore.location": str(both),
        f"{mine}.sasl.enabled.mechanisms": "PLAIN",
        f"{mine}.plain.sasl.jaas.config": (
            "org.apache.kafka.common.security.plain.PlainLoginModule required "
            + " ".join(f'user_{name}="{PASSWORD}"' for name in USERS)
            + ";"
        ),
        **RIGHTS,
        "allow.everyone.if.no.acl.found": "false",
        "super.users": "User:ANONYMOUS;User:chorus",
    }
    with Cluster(port=plain, config=config) as cluster:
        client = {
            "security_protocol": "SASL_SSL",
            "ssl_cafile": str(authority),
            "sasl_mechanism": "PLAIN",
            "sasl_plain_username": "chorus",
            "sasl_plain_password": FromEnvironment(env="TEST_KAFKA_PASSWORD"),
        }
        yield cluster.bootstrap, {"bootstrap_servers": [f"{HOST}:{secure}"], "client": client}


@pytest.fixture
def settings(secured: tuple[str, dict[str, Any]], unique: Callable[[str], str]) -> Settings:
    """Settings with topics of their own, whose clients use the secured listener."""
    plain, kafka = secured
    settings = settings_for(plain, unique)
    settings.kafka = msgspec.structs.replace(settings.kafka, **kafka)
    return settings


def test_exactly_once_over_tls_with_a_password(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_KAFKA_PASSWORD", PASSWORD)
    produce(settings, [manifest(f"r{number}") for number in range(50)])
    with running(settings, StandInRouter()):
        wait_until(lambda: committed(settings) == end_offsets(settings))
    assert transcript_ids(settings) == {f"r{number}": 1 for number in range(50)}


def test_a_wrong_password_is_told_from_a_broker_that_is_down(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TEST_KAFKA_PASSWORD", "wrong password")
    with pytest.raises(KafkaUnreachableError, match=r"kafka\.client"):
        make_admin(settings.kafka, bootstrap_timeout_ms=3_000)
    assert "wrong password" not in caplog.text


class Users:
    """The users of docs/operations.md with a group and topics of their own, none of which exists.

    Args:
        plain: address of the listener at which everything is allowed.
        kafka: section of the settings for the other listener.
        name: of the group.
        folder: for their settings.
    """

    def __init__(self, plain: str, kafka: dict[str, Any], name: str, folder: Path) -> None:
        self.all = settings_of(plain, name, session_timeout_s=3.0)
        self._kafka = kafka
        self._folder = folder
        self.entries = acl_commands.entries(name)
        with make_admin(self.all.kafka) as admin:
            assert not admin.create_acls(self.entries)["failed"]

    def settings(self, user: str) -> Settings:
        client = {**self._kafka["client"], "sasl_plain_username": user}
        secured = msgspec.structs.replace(self.all.kafka, **self._kafka | {"client": client})
        return msgspec.structs.replace(self.all, kafka=secured)

    def shell(self, user: str) -> Shell:
        folder = self._folder / user
        folder.mkdir()
        return Shell(self.settings(user), folder)


@pytest.fixture
def users(
    secured: tuple[str, dict[str, Any]],
    unique: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Users:
    monkeypatch.setenv("TEST_KAFKA_PASSWORD", PASSWORD)
    return Users(*secured, unique("stream"), tmp_path)


def test_each_user_does_its_work_with_the_rights_that_the_page_gives_it(
    users: Users, tmp_path: Path
) -> None:
    operator = users.shell("operator")
    operator.run("topics", "--partitions", "1")
    lines = tmp_path / "records.jsonl"
    lines.write_bytes(b"\n".join(manifest(name) for name in ("a", "b", "poison")))
    users.shell("producer").run("produce", str(lines))
    router = StandInRouter()
    router.poison = {"poison"}
    with running(users.settings("worker"), router) as worker:
        wait_until(lambda: done(worker) == 3)
    heard = users.shell("reader").json_lines("tail", "--from-beginning", "--limit", "2")
    assert {each["id"] for each in heard} == {"a", "b"}
    with closing(make_consumer(users.settings("reader").kafka, group_id="sink")) as sink:
        sink.subscribe([users.all.kafka.topics.transcripts])
        wait_until(lambda: bool(sink.poll(timeout_ms=100)))
        sink.commit()
    operator.run("dead-letters", "replay", "--all")
    [waiting] = users.shell("watcher").json_lines("offsets", "list")
    assert waiting["lag"]
    operator.run("offsets", "skip", "--partition", "0", "--offset", str(waiting["committed"]))
    operator.run("offsets", "set", "--to", "earliest")


def test_a_worker_without_one_of_its_rights_ends_and_names_it(
    users: Users, caplog: pytest.LogCaptureFixture
) -> None:
    ensure_topics(users.all.kafka.bootstrap_servers, partitions_of(users.all, 1))
    produce(users.all, [manifest("a")])
    needed = [
        entry
        for entry in users.entries
        if entry.principal == "User:worker" and entry.operation is not ACLOperation.DESCRIBE_CONFIGS
    ]
    assert len(needed) == 6
    for entry in needed:
        caplog.clear()
        with make_admin(users.all.kafka) as admin:
            admin.delete_acls([entry])
            worker = StreamWorker(users.settings("worker"), StandInRouter(), "0")
            assert worker.run() == exit_codes.SETTINGS
            assert not admin.create_acls([entry])["failed"]
        resource = entry.resource_pattern
        is_id = resource.resource_type is ResourceType.TRANSACTIONAL_ID
        named = "TransactionalIdAuthorizationFailed" if is_id else resource.resource_name
        assert named in caplog.text
    with running(users.settings("worker"), StandInRouter()) as worker:
        wait_until(lambda: done(worker) == 1)
