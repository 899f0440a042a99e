"""What a command says, and its exit code, where something outside it fails."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from kafka.errors import InvalidTopicError, KafkaConnectionError, TopicAuthorizationFailedError

from deploy.local import CHORUS
from workers import exit_codes
from workers.broker.cluster import Cluster
from workers.broker.ports import free_ports
from workers.cli.common import fault_of, kafka_exit_code
from workers.cli.extras import missing_package


def test_an_error_without_a_file_is_told_in_its_own_words() -> None:
    missing = FileNotFoundError(errno.ENOENT, "No such file or directory", "gone.wav")
    assert fault_of(missing) == "gone.wav: No such file or directory"
    assert fault_of(ConnectionError("no cluster at 127.0.0.1:1")) == "no cluster at 127.0.0.1:1"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KafkaConnectionError("no broker"), exit_codes.UNREACHABLE),
        (InvalidTopicError("a b"), exit_codes.SETTINGS),
        (TopicAuthorizationFailedError("asr.manifests"), exit_codes.SETTINGS),
        (ValueError("something else"), None),
    ],
)
def test_the_exit_code_says_whether_waiting_helps(error: Exception, code: int | None) -> None:
    assert kafka_exit_code(error) == code


@pytest.mark.parametrize(
    ("command", "module", "extra"),
    [
        ("serve", "litestar", "serve"),
        ("serve", "kafka.errors", "serve,stream"),  # with --worker
        ("serve", "opentelemetry", "serve"),
        ("stream", "kafka", "serve,stream"),
        ("tail", "kafka", "stream"),
    ],
)
def test_a_missing_package_names_its_extra(command: str, module: str, extra: str) -> None:
    message = missing_package(command, ModuleNotFoundError(name=module))
    assert message is not None
    assert message.endswith(f"pip install 'chorus-asr[{extra}]'")


def settings_for(address: str, topic: str = "asr.manifests") -> str:
    return (
        "models: {general: {engine: 'tests.standin:StandInEngine'}}\n"
        "routing: {default: general}\n"
        "audio: {roots: ['.']}\n"
        f"kafka: {{bootstrap_servers: ['{address}'], client: {{bootstrap_timeout_ms: 1000}},"
        f" topics: {{manifests: '{topic}'}}}}\n"
    )


@pytest.mark.kafka
@pytest.mark.parametrize("arguments", [["produce", "one.jsonl"], ["tail"]])
def test_a_missing_topic_is_named_with_what_to_do(
    kafka: Cluster, unique: Callable[[str], str], arguments: list[str], tmp_path: Path
) -> None:
    (tmp_path / "one.jsonl").write_text('{"audio_filepath": "a.wav"}\n')
    (tmp_path / "chorus.yaml").write_text(settings_for(kafka.bootstrap, unique("nowhere")))
    done = subprocess.run(
        [*CHORUS, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == exit_codes.SETTINGS, done.stderr
    assert "error: there is no topic" in done.stderr
    assert "`chorus topics` creates those of the settings" in done.stderr


@pytest.mark.slow  # waits until the client gives up
@pytest.mark.parametrize(
    "arguments",
    [
        ["topics"],
        ["produce", "one.jsonl"],
        ["tail"],
        ["dead-letters", "list"],
        ["dead-letters", "show", "a"],
        ["dead-letters", "replay", "--all"],
        ["dead-letters", "drop", "a"],
        ["offsets", "list"],
        ["offsets", "set", "--to", "earliest"],
        ["offsets", "skip", "--partition", "0", "--offset", "0"],
    ],
)
def test_what_only_talks_to_kafka_needs_no_models(arguments: list[str], tmp_path: Path) -> None:
    (address,) = (f"127.0.0.1:{port}" for port in free_ports(1))
    (tmp_path / "one.jsonl").write_text('{"audio_filepath": "a.wav"}\n')
    settings = settings_for(address).replace(
        "engine: 'tests.standin:StandInEngine'", "path: a.nemo"
    )
    (tmp_path / "chorus.yaml").write_text(settings.replace("roots: ['.']", "roots: [speech]"))
    done = subprocess.run(
        [*CHORUS, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == exit_codes.UNREACHABLE, done.stderr


@pytest.mark.slow  # waits until the client gives up
@pytest.mark.parametrize("arguments", [["topics"], ["produce", "one.jsonl"]])
def test_without_a_broker_a_command_names_its_address(arguments: list[str], tmp_path: Path) -> None:
    (address,) = (f"127.0.0.1:{port}" for port in free_ports(1))
    (tmp_path / "one.jsonl").write_text('{"audio_filepath": "a.wav"}\n')
    (tmp_path / "chorus.yaml").write_text(settings_for(address))
    done = subprocess.run(
        [*CHORUS, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == exit_codes.UNREACHABLE, done.stderr
    assert f"error: no Kafka broker answers at {address}" in done.stderr
    assert "Traceback" not in done.stderr
