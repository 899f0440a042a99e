"""The compose file, as far as it can be tried without Docker."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.local import ROOT
from schemas.settings import KafkaSettings, Topics
from workers.broker.broker import Broker, new_cluster_id
from workers.broker.jars import fetch_jars
from workers.broker.java import find_java
from workers.broker.ports import HOST, free_ports
from workers.broker.properties import Node

SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose/compose.yaml").read_text())[
    "services"
]


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
