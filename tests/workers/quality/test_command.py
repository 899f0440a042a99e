"""`chorus quality` on files, and on the topics of a real broker."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from schemas.metrics import MetricsEvent
from schemas.settings import Settings, load_settings
from schemas.transcript import Transcript, encode_transcript
from tests.workers.cli.shell import chorus
from tests.workers.quality.test_observations import transcript
from workers.broker.cluster import Cluster
from workers.kafka.clients import make_producer
from workers.kafka.reader import read_topic

SMALL = ("--reference", "500")


def transcripts(wer: float, count: int, **keys: Any) -> list[Transcript]:
    rng = np.random.default_rng(round(1000 * wer))
    return [
        transcript(
            f"the words of record {number} with {wer:.0%} are these",
            domain="calls",
            wer=10.0 * int(errors),
            word_errors=int(errors),
            reference_words=10,
            **keys,
        )
        for number, errors in enumerate(rng.binomial(10, wer, count))
    ]


def written(path: Path, found: Iterable[Transcript], *more: bytes) -> Path:
    path.write_bytes(b"\n".join([*map(encode_transcript, found), *more]) + b"\n")
    return path


def test_a_file_of_a_healthy_model_is_stable(tmp_path: Path) -> None:
    failed = b'{"id": "x", "audio_filepath": "x.wav", "processing_error": "audio_missing: x"}'
    path = written(tmp_path / "t.jsonl", transcripts(0.1, 900), failed)
    done = chorus("quality", "--from", path, *SMALL)
    assert done.returncode == 0, done.stderr
    assert "stable" in done.stdout
    assert "no change against its beginning is certain; wer: " in done.stdout
    (found,) = json.loads(chorus("quality", "--from", path, *SMALL, "--json").stdout)["models"]
    assert (found["model"], found["domain"], found["records"]) == ("general", "calls", 900)
    assert found["status"] == "stable"


def test_a_file_of_a_model_that_gets_worse_ends_with_10(tmp_path: Path) -> None:
    both = [*transcripts(0.1, 600), *transcripts(0.2, 400)]
    done = chorus("quality", "--from", written(tmp_path / "t.jsonl", both), *SMALL)
    assert done.returncode == 10, done.stderr
    assert "worse than its beginning: its audio was not measured" in done.stdout
    measured = [msgspec.structs.replace(each, audio_measures={"snr_db": 20.0}) for each in both]
    done = chorus("quality", "--from", written(tmp_path / "t.jsonl", measured), *SMALL)
    assert "worse than its beginning: no measure of the audio changed with it" in done.stdout
    assert "wer: " in done.stdout
    assert "; since record 6" in done.stdout or "; since record 5" in done.stdout


def test_too_few_records_and_none_are_no_data(tmp_path: Path) -> None:
    few = chorus("quality", "--from", written(tmp_path / "t.jsonl", transcripts(0.1, 50)))
    assert few.returncode == 0
    assert "no data (50 records; 1100 are needed)" in few.stdout
    (tmp_path / "none.jsonl").touch()
    none = chorus("quality", "--from", tmp_path / "none.jsonl")
    assert (none.returncode, none.stdout) == (0, "no data: there are no transcripts\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--from", "gone.jsonl"], "gone.jsonl: No such file"),
        (["--from", "bad.jsonl"], "bad.jsonl:2: is no transcript of `chorus transcribe`"),
        (["--from", "good.jsonl", "--reference", "120"], "multiple of 50"),
        (["--from", "good.jsonl", "--error-rate", "1"], "between 0 and 1"),
        (["--from", "good.jsonl", "--since", "7d"], "which files do not have"),
        (["--since", "yesterday"], "--since yesterday: neither a time"),
        (["--from", "good.jsonl", "--alert"], "there is no chorus.yaml"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "good.jsonl", transcripts(0.1, 1))
    written(tmp_path / "bad.jsonl", transcripts(0.1, 1), b'{"id": "no text"}')
    done = chorus("quality", *arguments)
    assert done.returncode == 2
    assert says in done.stderr


def events(settings: Settings) -> list[MetricsEvent]:
    return [
        msgspec.json.decode(message.value, type=MetricsEvent)
        for message in read_topic(settings.kafka, settings.kafka.topics.metrics)
        if message is not None and message.value is not None
    ]


@pytest.mark.kafka
def test_a_drift_on_the_topic_becomes_an_event(
    kafka: Cluster, make_topic: Callable[..., str], tmp_path: Path
) -> None:
    topics = {
        "transcripts": make_topic("transcripts", partitions=2),
        "metrics": make_topic("metrics"),
    }
    path = tmp_path / "chorus.yaml"
    written_settings = {
        "models": {"general": {"engine": "x:Y"}, "medical": {"engine": "x:Y"}},
        "routing": {"default": "general"},
        "audio": {"roots": ["."]},
        "kafka": {"bootstrap_servers": kafka.bootstrap_servers, "topics": topics},
    }
    path.write_text(json.dumps(written_settings))
    settings = load_settings(path)
    start = time.time() - 7200
    stream = [*transcripts(0.1, 700), *transcripts(0.25, 400)]
    with make_producer(settings.kafka) as producer:
        for number, each in enumerate(stream):
            producer.send(
                topics["transcripts"],
                value=encode_transcript(each),
                timestamp_ms=int(1000 * (start + number)),
            )

    done = chorus("quality", "--settings", path, *SMALL, "--alert", "--json")
    assert done.returncode == 10, done.stderr
    general, medical = json.loads(done.stdout)["models"]
    assert (general["status"], general["records"]) == ("worse", 1100)
    assert (medical["status"], medical["why"]) == ("no data", "it has written nothing")

    chorus("quality", "--settings", path, *SMALL, "--alert")
    first, second = events(settings)
    assert isinstance(first.alert, msgspec.Struct)
    assert first.alert == second.alert, "the same change has the same id"
    assert (first.model, first.domain, first.records) == ("general", "calls", 0)
    assert (first.alert.status, first.alert.cause) == ("worse", "model")
    (wer,) = first.alert.measures
    assert wer.name == "wer"
    assert wer.since == pytest.approx(start + 700, abs=60)
    assert wer.low > 0.05

    before = str(time.strftime("%FT%TZ", time.gmtime(start + 650)))
    healthy = chorus("quality", "--settings", path, *SMALL, "--until", before, "--json")
    assert json.loads(healthy.stdout)["models"][0]["status"] == "stable"
    late = chorus("quality", "--settings", path, *SMALL, "--since", "30m", "--json")
    assert [each["status"] for each in json.loads(late.stdout)["models"]] == ["no data"] * 2
    quiet = ("--until", before, "--silent-after", "0")
    silent = chorus("quality", "--settings", path, *SMALL, *quiet)
    assert "no data (it has written nothing of late)" in silent.stdout
