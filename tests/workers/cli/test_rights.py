"""Commands whose user may not describe a topic: they do not say that there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.workers.cli.shell import Shell
from tests.workers.stream.clusters import BrokerCluster
from workers import exit_codes
from workers.broker.cluster import Cluster

pytestmark = pytest.mark.kafka


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (["topics"], "transcripts"),
        (["tail"], "transcripts"),
        (["produce", "one.jsonl"], "manifests"),
        (["offsets", "list"], "manifests"),
        (["dead-letters", "list"], "dead_letters"),
        (["dead-letters", "replay", "--all"], "dead_letters"),
    ],
)
def test_a_topic_that_may_not_be_described_is_named(
    kafka: Cluster,
    unique: Callable[[str], str],
    arguments: list[str],
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = BrokerCluster(kafka, unique)
    settings = cluster.settings()
    topic = getattr(settings.kafka.topics, kind)
    cluster.deny(settings, "DESCRIBE", topic)
    monkeypatch.chdir(tmp_path)
    Path("one.jsonl").write_text('{"audio_filepath": "a.wav"}\n')
    said = Shell(settings, tmp_path).run(*arguments, code=exit_codes.SETTINGS)
    assert f"this user may not describe {topic}" in said
    assert "there is no topic" not in said


@pytest.mark.parametrize("arguments", [["offsets", "set", "--to", "earliest"]])
def test_a_group_that_may_not_be_described_is_named(
    kafka: Cluster, unique: Callable[[str], str], arguments: list[str], tmp_path: Path
) -> None:
    cluster = BrokerCluster(kafka, unique)
    settings = cluster.settings()
    cluster.deny(settings, "DESCRIBE", settings.kafka.group)
    said = Shell(settings, tmp_path).run(*arguments, code=exit_codes.SETTINGS)
    assert settings.kafka.group in said
