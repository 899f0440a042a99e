"""The commands refuse messages of a newer major version in words."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.dead_letter import to_headers
from schemas.settings import KafkaSettings
from schemas.transcript import encode_transcript
from schemas.versions import SchemaVersionError
from tests.schemas.test_dead_letter import LETTER
from tests.workers.stream.support import Message, a_pending_record, manifest_of, transcript_of
from workers import exit_codes
from workers.cli import main
from workers.kafka import dead_letters, reader
from workers.kafka.letter_choice import Choice

NEWER_LETTER = Message(headers=(*to_headers(LETTER), ("chorus.schema-version", b"2")))
#: Exit code, output and errors of a command.
Ran = tuple[int | str | None, str, str]
Run = Callable[..., Ran]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `chorus` on a topic of messages; gives its exit code, output and errors."""
    settings = tmp_path / "chorus.yaml"
    settings.write_text(
        "models: {general: {engine: 'tests.standin:StandInEngine'}}\n"
        "routing: {default: general}\n"
        "audio: {roots: ['.']}\n"
    )

    def run(messages: Message | list[Message], *command: str) -> Ran:
        topic = messages if isinstance(messages, list) else [messages]
        for module in (reader, dead_letters):
            monkeypatch.setattr(module, "read_topic", lambda *_, **__: iter(topic))
        monkeypatch.setattr(sys, "argv", ["chorus", *command, "--settings", str(settings)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return run


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_tail(run: Run, as_json: list[str]) -> None:
    value = encode_transcript(transcript_of(manifest_of(a_pending_record("a"))))
    code, out, _ = run(Message(value, headers=[("schema-version", b"1")]), "tail", *as_json)
    assert code in (0, None)
    assert "heard a" in out
    code, out, error = run(Message(value, headers=[("schema-version", b"2")]), "tail", *as_json)
    assert (code, out) == (1, "")
    assert error.startswith("error: the transcript has schema version 2, ")


def test_a_letter_of_a_newer_version_hides_no_other(run: Run) -> None:
    other = Message(b"{}", offset=1, headers=to_headers(LETTER))
    code, out, error = run([NEWER_LETTER, other], "dead-letters", "list")
    assert LETTER.id in out
    assert code == exit_codes.PARTIAL
    assert "1 messages of the topic were written by a newer version" in error


def test_a_letter_that_cannot_be_read_is_not_shown(run: Run) -> None:
    code, out, error = run(NEWER_LETTER, "dead-letters", "show", LETTER.id)
    assert (code, out) == (1, "")
    assert error.startswith("error: the dead letter has schema version 2, ")


class StandInClient:
    """A producer and a consumer that count what is done with them."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: self.done.append(name)


def test_a_replay_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    client = StandInClient()
    monkeypatch.setattr(dead_letters, "make_producer", lambda *_, **__: client)
    monkeypatch.setattr(dead_letters, "read_topic", lambda *_, **__: iter([NEWER_LETTER]))
    with pytest.raises(SchemaVersionError, match="the dead letter has schema version 2"):
        dead_letters.replay(KafkaSettings(), Choice(names=frozenset({LETTER.id})))
    assert "commit_transaction" not in client.done
    assert "send" not in client.done
    assert client.done[-1] == "close"
