"""The worker against a real Kafka, with a stand-in Router in this process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import msgspec
import pytest

from schemas.settings import KafkaSettings, Settings
from tests.workers.stream.support import (
    StandInRouter,
    committed,
    done,
    end_offsets,
    manifest,
    produce,
    running,
    settings_for,
    transcript_ids,
    wait_until,
)
from workers import exit_codes
from workers.broker.cluster import Cluster
from workers.broker.ports import free_ports
from workers.stream.worker import StreamWorker

pytestmark = pytest.mark.kafka


def ids(count: int, start: int = 0) -> list[str]:
    return [f"r{number}" for number in range(start, start + count)]


def send(settings: Settings, names: list[str], **options: Any) -> None:
    produce(settings, (manifest(name) for name in names), **options)


def each_once(names: list[str]) -> Counter[str]:
    return Counter(names)


def has_committed(settings: Settings, count: int) -> bool:
    return sum(committed(settings).values()) >= count


@contextmanager
def process(settings: Settings, instance: str, delay_s: float) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tests.workers.stream.worker_process"]
    arguments = [msgspec.json.encode(settings).decode(), instance, str(delay_s)]
    worker = subprocess.Popen([*command, *arguments], stderr=subprocess.DEVNULL)
    try:
        yield worker
    finally:
        worker.kill()
        worker.wait()


def test_a_killed_worker_loses_and_repeats_nothing(
    kafka: Cluster, unique: Callable[[str], str]
) -> None:
    settings = settings_for(kafka.bootstrap, unique)
    names = ids(600)
    send(settings, names)
    for committed_before in (1, 200):
        with process(settings, "0", delay_s=0.05) as worker:
            wait_until(partial(has_committed, settings, committed_before))
            worker.send_signal(signal.SIGKILL)
    assert 0 < sum(transcript_ids(settings).values()) < 600
    with process(settings, "0", delay_s=0.0) as worker:
        wait_until(lambda: committed(settings) == end_offsets(settings))
        worker.terminate()
        assert worker.wait(timeout=30) == exit_codes.OK
    assert transcript_ids(settings) == each_once(names)


def test_the_broker_dies_and_comes_back(unique: Callable[[str], str]) -> None:
    names = ids(600)
    with Cluster() as kafka:
        settings = settings_for(kafka.bootstrap, unique)
        send(settings, names)
        with running(settings, StandInRouter(delay_s=0.1)) as worker:
            wait_until(lambda: done(worker) > 50)
            kafka.kill(0)
            time.sleep(2)
            assert worker.heartbeat_age_s < 5
            kafka.restart(0)
            wait_until(lambda: committed(settings) == end_offsets(settings), timeout_s=100)
        assert transcript_ids(settings) == each_once(names)


def test_no_broker_is_a_code_of_its_own(
    unique: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    (port,) = free_ports(1)
    kafka = KafkaSettings(
        bootstrap_servers=[f"127.0.0.1:{port}"], client={"bootstrap_timeout_ms": 500}
    )
    worker = StreamWorker(_settings(kafka), StandInRouter())
    assert worker.run() == exit_codes.UNREACHABLE
    assert f"127.0.0.1:{port}" in caplog.text


def test_a_missing_topic_is_named_before_anything_starts(
    kafka: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    worker = StreamWorker(
        _settings(KafkaSettings(bootstrap_servers=[kafka.bootstrap])), StandInRouter()
    )
    assert worker.run() == exit_codes.SETTINGS
    assert "asr.manifests" in caplog.text


def _settings(kafka: KafkaSettings) -> Settings:
    from schemas.settings import AudioSettings, ModelSettings, Routing

    return Settings(
        models={"general": ModelSettings(pretrained="stand-in")},
        routing=Routing(default="general"),
        audio=AudioSettings(roots=[os.curdir]),
        kafka=kafka,
    )
