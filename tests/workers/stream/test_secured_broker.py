"""The worker against a broker that asks for TLS and a password, told by `kafka.client` alone."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from schemas.settings import FromEnvironment, Settings
from tests.workers.stream.support import (
    StandInRouter,
    committed,
    end_offsets,
    manifest,
    produce,
    running,
    settings_for,
    transcript_ids,
    wait_until,
)
from workers.broker.cluster import Cluster
from workers.broker.ports import HOST, free_ports
from workers.kafka.clients import KafkaUnreachableError, make_admin

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

PASSWORD = "correct horse"


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
            f'user_chorus="{PASSWORD}";'
        ),
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
