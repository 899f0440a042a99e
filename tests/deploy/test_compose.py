"""The compose files, as far as they can be tried without Docker."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.local import ROOT
from schemas.settings import KafkaSettings, Topics, load_settings
from workers.broker.broker import Broker, new_cluster_id
from workers.broker.jars import fetch_jars
from workers.broker.java import find_java
from workers.broker.ports import HOST, free_ports
from workers.broker.properties import Node

FOLDER = ROOT / "deploy/compose"
SERVICES: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
MACHINE: dict[str, Any] = yaml.safe_load((FOLDER / "machine.yaml").read_text())["services"]
#: The services of Chorus itself on one machine.
OURS = {name: service for name, service in MACHINE.items() if name != "kafka"}


def image_properties(environment: dict[str, Any]) -> dict[str, str]:
    """What the image makes of its environment: `KAFKA_NODE_ID` becomes `node.id`."""
    return {
        key.removeprefix("KAFKA_").lower().replace("_", "."): str(value)
        for key, value in environment.items()
    }


@pytest.mark.kafka
def test_kafka_starts_with_what_the_file_sets(tmp_path: Path) -> None:
    settings = image_properties(SERVICES["kafka"]["environment"])
    data = settings["log.dirs"]
    assert f"kafka:{data}" in SERVICES["kafka"]["volumes"], "the data would not be kept"
    settings["log.dirs"] = str(tmp_path / "data")
    text = "".join(f"{key}={value}\n" for key, value in settings.items())
    text = text.replace("kafka:", f"{HOST}:").replace("//:", f"//{HOST}:")
    ports = dict(zip(("9092", "19092", "9093"), free_ports(3), strict=True))
    text = re.sub(r"(?<=:)\d+", lambda port: str(ports[port.group()]), text)
    node = Node(1, ports["9092"], ports["9093"])
    broker = Broker(find_java().path, fetch_jars(), node, tmp_path, text)
    cluster_id = new_cluster_id()
    try:
        broker.launch(cluster_id)
        broker.wait_until_ready(cluster_id, 1, time.monotonic() + 60)
    finally:
        broker.kill()


def test_it_has_the_version_address_and_topics_of_the_defaults() -> None:
    versions = {jar.name.rpartition("-")[2] for jar in fetch_jars() if "kafka-clients" in jar.name}
    images = {service["image"] for service in SERVICES.values()}
    assert {f"{image.rpartition(':')[2]}.jar" for image in images} == versions
    assert SERVICES["kafka"]["ports"] == [f"{HOST}:9092:9092"]
    assert KafkaSettings().bootstrap_servers == [f"{HOST}:9092"]
    topics = Topics()
    made = dict(re.findall(r"(asr[\w.-]*):(\d+)", SERVICES["topics"]["command"][0]))
    assert set(made) == {
        topics.manifests,
        topics.transcripts,
        topics.metrics,
        topics.dead_letters,
    }


def seconds(duration: str) -> float:
    return float(duration.removesuffix("s"))


def mounts(service: str) -> dict[str, Path]:
    """The folders and files that a service sees by default, where it sees them."""
    found = {}
    for volume in MACHINE[service]["volumes"]:
        source, target, *_ = re.sub(r"\$\{\w+:-([^}]+)\}", r"\1", volume).split(":")
        if source.startswith("."):
            found[target] = (FOLDER / source).resolve()
    return found


def test_one_machine_has_what_its_settings_name() -> None:
    settings = load_settings(FOLDER / "chorus.yaml", files=False)
    assert settings.kafka.bootstrap_servers[0] in {
        each.partition("://")[2]
        for each in SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(",")
    }
    assert settings.http is not None
    assert settings.stream.backend == f"http://serve:{settings.http.port}"
    assert settings.stream.status is not None
    for service, port in (("serve", settings.http.port), ("stream", settings.stream.status.port)):
        asked_for_health = MACHINE[service]["healthcheck"]["test"][-1]
        assert f"http://127.0.0.1:{port}/" in asked_for_health
    asked = {key.env for key in settings.http.keys.values()}
    assert settings.stream.backend_key is not None
    assert asked == {settings.stream.backend_key.env}
    assert f"{asked.pop()}=\n" in (FOLDER / "chorus.env.example").read_text()
    seen = mounts("serve")
    for model in settings.models.values():
        assert model.path is not None
        folder, _, name = model.path.rpartition("/")
        assert (seen[folder] / name).is_file()
    assert all(seen[root].is_dir() for root in settings.audio.roots)
    assert all(
        seen["/etc/chorus/chorus.yaml"] == mounts(name)["/etc/chorus/chorus.yaml"] for name in OURS
    )


def test_one_machine_stops_in_peace() -> None:
    settings = load_settings(FOLDER / "chorus.yaml", files=False)
    assert settings.http is not None
    drain = settings.stream.drain_timeout_s
    assert seconds(MACHINE["stream"]["stop_grace_period"]) > drain
    assert seconds(MACHINE["serve"]["stop_grace_period"]) >= 60 + drain + settings.http.timeout_s


def test_containers_may_do_little() -> None:
    for service in OURS.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert [each.partition(":")[0] for each in service["tmpfs"]] == ["/tmp"]
    assert MACHINE["kafka"]["extends"] == {"file": "compose.yaml", "service": "kafka"}
    assert all(port.startswith(HOST) for port in MACHINE["serve"]["ports"])
