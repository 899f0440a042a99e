"""The worker as a Serve application, with the real Router and a stand-in engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from schemas.dead_letter import from_headers
from schemas.failures import ErrorCode
from schemas.settings import ModelSettings
from schemas.settings.quality import QualitySettings
from tests.workers.stream.support import (
    committed,
    dead_letters,
    end_offsets,
    produce,
    quality_jobs,
    read_all,
    settings_for,
    wait_until,
    write_clip,
)
from workers.broker.cluster import Cluster
from workers.stream.worker import Stats

pytestmark = [pytest.mark.kafka, pytest.mark.ray, pytest.mark.slow]


async def asked_for_stats(app_name: str) -> Stats:
    from ray import serve

    handle = serve.get_deployment_handle("StreamWorker", app_name)
    stats: Stats = await asyncio.wait_for(handle.stats.remote(), 20)
    return stats


def test_from_kafka_through_serve_and_back(
    kafka: Cluster, unique: Callable[[str], str], tmp_path: Path
) -> None:
    from serve_app.cluster import application
    from workers.stream.serve_application import deploy_worker

    texts = {f"c{number}": write_clip(tmp_path / f"c{number}.wav") for number in range(20)}
    settings = settings_for(kafka.bootstrap, unique, workers=2)
    settings.models = {"general": ModelSettings(engine="tests.standin:StandInEngine", num_cpus=0.5)}
    settings.audio.roots = [str(tmp_path)]
    settings.stream.quality = QualitySettings(every_s=0.5)
    settings.serve.quick_start = "off"  # workers as Ray starts them
    running = application.start(settings)
    assert running.fork_server is None
    try:
        deploy_worker(running, settings)
        records = [{"id": id_, "audio_filepath": f"{id_}.wav"} for id_ in texts]
        records.append({"id": "gone", "audio_filepath": "gone.wav"})
        produce(settings, map(msgspec.json.encode, records))
        wait_until(lambda: committed(settings) == end_offsets(settings), timeout_s=90)
        assert asyncio.run(asked_for_stats(f"{settings.serve.app}-worker")).breaker == "closed"
        wait_until(lambda: len(quality_jobs()) == 1, what="one of the two to judge transcripts")
        assert running.logs is not None
        logs = [file.read_text() for file in Path(running.logs).glob("*StreamWorker*.log")]
        assert any("assigned: " in log for log in logs)
        assert not any("gone.wav" in log or "does not run" in log for log in logs)
    finally:
        application.stop(running)
    assert not quality_jobs()
    transcripts = [
        msgspec.json.decode(message.value)
        for message in read_all(settings, settings.kafka.topics.transcripts)
    ]
    assert {each["id"]: each["pred_text"] for each in transcripts} == texts
    assert len(transcripts) == len(texts)
    (letter,) = dead_letters(settings)
    assert from_headers(letter.headers).code is ErrorCode.AUDIO_MISSING
