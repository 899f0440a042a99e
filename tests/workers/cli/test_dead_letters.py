"""`chorus dead-letters` on a real broker: each letter is replayed once, and none ends a command."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.dead_letter import from_headers, to_headers
from schemas.settings import Settings
from tests.workers.cli.shell import Shell
from tests.workers.stream.clusters import Bench, BrokerCluster
from tests.workers.stream.support import StandInRouter, done, wait_until
from workers import exit_codes
from workers.broker.cluster import Cluster
from workers.kafka import dead_letters
from workers.kafka.clients import make_producer
from workers.kafka.dead_letters import OtherCommandError
from workers.kafka.letter_choice import Choice

pytestmark = pytest.mark.kafka


@pytest.fixture
def bench(kafka: Cluster, unique: Callable[[str], str]) -> Bench:
    return Bench(BrokerCluster(kafka, unique))


def with_letters(bench: Bench, count: int = 3) -> Settings:
    """Settings with so many dead letters: "r0", "r1" and so on."""
    settings = bench.settings(partitions=1)
    names = [f"r{number}" for number in range(count)]
    backend = StandInRouter()
    backend.poison = set(names)
    bench.send(settings, names)
    with bench.running(settings, backend) as worker:
        wait_until(lambda: done(worker) == count)
    return settings


def replayed(bench: Bench, settings: Settings, before: int = 3) -> Counter[str]:
    """How often each record is in the manifest topic, beyond the first `before` messages."""
    messages = bench.read_all(settings, settings.kafka.topics.manifests)[before:]
    return Counter(message.value.split(b'"')[3].decode() for message in messages)


def add_to_the_letters(settings: Settings, **message: Any) -> None:
    producer = make_producer(settings.kafka)
    producer.send(settings.kafka.topics.dead_letters, **message).get(10)
    producer.close()


def test_a_letter_is_replayed_once_and_marked(bench: Bench, tmp_path: Path) -> None:
    settings = with_letters(bench)
    shell = Shell(settings, tmp_path)
    assert shell.run("dead-letters", "replay", "r1") == "replayed 1 dead letters\n"
    listed = shell.run("dead-letters", "list").splitlines()[::2]
    assert ["(replayed 20" in line for line in listed] == [False, True, False]
    assert all(line.startswith("20") and line[19] == "Z" for line in listed)
    assert [each["id"] for each in shell.json_lines("dead-letters", "list", "--open")] == [
        "r0",
        "r2",
    ]
    [result] = shell.json_lines("dead-letters", "replay", "--all")
    assert result == {"replayed": 2, "before": 0, "without_value": 0, "missing": []}
    assert "1 had been replayed" in shell.run("dead-letters", "replay", "r1")
    assert replayed(bench, settings) == Counter(["r0", "r1", "r2"])
    assert shell.json_lines("dead-letters", "replay", "r1", "--again")[0]["replayed"] == 1
    assert replayed(bench, settings)["r1"] == 2
    again = bench.read_all(settings, settings.kafka.topics.manifests)[-1]
    assert (again.key, again.headers) == (None, [])  # as it was, without those of the letter


def test_dropped_letters_are_neither_listed_nor_replayed(bench: Bench, tmp_path: Path) -> None:
    settings = with_letters(bench)
    shell = Shell(settings, tmp_path)
    source = f"{settings.kafka.topics.manifests}-0-2"
    assert shell.run("dead-letters", "drop", "r0", source) == "dropped 2 dead letters\n"
    assert [each["id"] for each in shell.json_lines("dead-letters", "list")] == ["r1"]
    assert len(shell.json_lines("dead-letters", "list", "--dropped")) == 3
    assert "dropped:       20" in shell.run("dead-letters", "show", "r0")
    missing = shell.run("dead-letters", "drop", "nobody", code=exit_codes.PARTIAL)
    assert "no such dead letter: nobody" in missing
    assert shell.json_lines("dead-letters", "replay", "--all")[0]["replayed"] == 1
    assert replayed(bench, settings) == Counter(["r1"])


def test_what_is_no_letter_and_what_holds_no_record_are_counted(
    bench: Bench, tmp_path: Path
) -> None:
    settings = with_letters(bench, 1)
    shell = Shell(settings, tmp_path)
    add_to_the_letters(settings, value=b"not one of ours", headers=[("chorus.id", b"\xff")])
    [letter] = [from_headers(m.headers) for m in bench.dead_letters(settings)[:1]]
    letter.id, letter.value_omitted, letter.timestamp = "large", 9_999_999, 1e30
    add_to_the_letters(settings, key=b"k", headers=to_headers(letter))
    assert len(shell.run("dead-letters", "list").splitlines()) == 4
    assert "value_omitted: 9999999" in shell.run("dead-letters", "show", "large")
    told = shell.run("dead-letters", "replay", "--all", code=exit_codes.PARTIAL)
    assert "1 messages of the topic are no dead letters" in told
    assert "1 dead letters do not hold their record" in told
    assert replayed(bench, settings, 1) == Counter(["r0"])


def test_a_topic_that_letters_came_from_and_that_is_gone_is_named(
    bench: Bench, tmp_path: Path
) -> None:
    settings = with_letters(bench, 1)
    topic = settings.kafka.topics.manifests
    bench.cluster.delete(settings, topic)
    shell = Shell(settings, tmp_path)
    told = shell.run("dead-letters", "replay", "--all", code=exit_codes.SETTINGS)
    assert f"there is no topic `{topic}`" in told
    assert len(shell.json_lines("dead-letters", "list", "--open")) == 1


def test_two_replays_at_once_send_each_record_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever begins later goes on, also where the other is in the middle of a transaction."""
    settings = with_letters(bench, 6)
    monkeypatch.setattr(dead_letters, "_IN_ONE_TRANSACTION", 2)
    send, first = dead_letters._send, threading.current_thread()
    sent = []

    def send_and_be_overtaken(*arguments: Any) -> None:
        send(*arguments)
        sent.append(threading.current_thread())
        if sent == [first, first]:  # two letters are committed, two are sent
            other = threading.Thread(target=dead_letters.replay, args=(settings.kafka, Choice()))
            other.start()
            other.join(60)

    monkeypatch.setattr(dead_letters, "_send", send_and_be_overtaken)
    with pytest.raises(OtherCommandError, match="stopped after 2 letters"):
        dead_letters.replay(settings.kafka, Choice())
    assert replayed(bench, settings, 6) == Counter(f"r{number}" for number in range(6))


def test_a_replay_that_is_interrupted_goes_on_where_it_was(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = with_letters(bench, 6)
    monkeypatch.setattr(dead_letters, "_IN_ONE_TRANSACTION", 2)
    send = dead_letters._send
    calls: list[None] = []

    def send_and_stop(*arguments: Any) -> None:
        send(*arguments)
        calls.append(None)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(dead_letters, "_send", send_and_stop)
        with pytest.raises(KeyboardInterrupt):
            dead_letters.replay(settings.kafka, Choice())
    assert dead_letters.replay(settings.kafka, Choice()).done == 4
    assert replayed(bench, settings, 6) == Counter(f"r{number}" for number in range(6))
