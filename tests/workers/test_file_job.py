"""A manifest file in, a manifest of transcripts out: whole, in order, resumable."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from schemas.failures import ErrorCode, RecordError
from schemas.manifest import ManifestRecord
from schemas.settings import StreamSettings
from schemas.transcript import Timings, Transcript
from workers.file_job import ResumeError, transcribe_file

STREAM = StreamSettings(batch_records=4, max_pending_records=16, retry_initial_s=0.01)


@dataclass
class Sign:
    alive: bool


class EchoBackend:
    """Says each record's id; refuses audio named `missing`; the first calls and probes fail."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.seen: list[str] = []

    async def transcribe(self, records: list[ManifestRecord]) -> list[Transcript | RecordError]:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("down")
        self.seen += [record.id for record in records]
        return [self._one(record) for record in records]

    def _one(self, record: ManifestRecord) -> Transcript | RecordError:
        if record.audio_filepath == "missing":
            return RecordError(id=record.id, code=ErrorCode.AUDIO_MISSING, message="no such file")
        return Transcript(
            id=record.id,
            audio_filepath=record.audio_filepath,
            duration=2.0,
            pred_text=f"this is {record.id}",
            selected_model="general",
            model_path="general.nemo",
            rule="default",
            timings=Timings(),
            extra=record.extra,
        )

    async def probe(self) -> Sign:
        self.failures = max(0, self.failures - 1)
        return Sign(alive=self.failures == 0)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    lines = [json.dumps({"id": f"r{n}", "audio_filepath": "a.wav", "n": n}) for n in range(50)]
    lines[7] = json.dumps({"id": "r7", "audio_filepath": "missing", "n": 7})
    lines[20] = "{not json"
    lines[30] = ""  # a blank line is no record
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def ids(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


EXPECTED = [f"r{n}" if n != 20 else "in.jsonl:21" for n in range(50) if n != 30]


def test_one_line_out_per_line_in_in_order(manifest: Path, tmp_path: Path):
    out = tmp_path / "out.jsonl"
    progress = transcribe_file(manifest, out, EchoBackend(), STREAM)
    assert ids(out) == EXPECTED
    assert (progress.transcribed, progress.failed, progress.audio_seconds) == (47, 2, 94.0)
    written = [json.loads(line) for line in out.read_text().splitlines()]
    assert written[3]["pred_text"] == "this is r3"
    assert written[3]["n"] == 3
    assert written[7]["processing_error"] == "audio_missing: no such file"
    assert written[20]["processing_error"].startswith("record_json: ")


def test_a_failing_backend_loses_nothing(manifest: Path, tmp_path: Path):
    out = tmp_path / "out.jsonl"
    transcribe_file(manifest, out, EchoBackend(failures=8), STREAM)
    assert ids(out) == EXPECTED


@pytest.mark.parametrize("cut", [0, 1, 700, 2000, 4000])
def test_goes_on_after_a_kill_at_any_byte(manifest: Path, tmp_path: Path, cut: int):
    out = tmp_path / "out.jsonl"
    transcribe_file(manifest, out, EchoBackend(), STREAM)
    whole = out.read_bytes()
    assert cut < len(whole)
    out.write_bytes(whole[:cut])
    kept = whole[:cut].count(b"\n")
    backend = EchoBackend()
    progress = transcribe_file(manifest, out, backend, STREAM)
    assert out.read_bytes() == whole
    assert progress.resumed == kept
    assert not set(backend.seen) & set(EXPECTED[:kept])  # finished work is not done again


def test_running_a_finished_job_again_does_nothing(manifest: Path, tmp_path: Path):
    out = tmp_path / "out.jsonl"
    transcribe_file(manifest, out, EchoBackend(), STREAM)
    backend = EchoBackend()
    assert transcribe_file(manifest, out, backend, STREAM).resumed == len(EXPECTED)
    assert backend.seen == []


def test_another_file_is_never_overwritten(manifest: Path, tmp_path: Path):
    out = tmp_path / "out.jsonl"
    out.write_text('{"id": "something else"}\n')
    with pytest.raises(ResumeError, match=r"out\.jsonl:1"):
        transcribe_file(manifest, out, EchoBackend(), STREAM)
    assert out.read_text() == '{"id": "something else"}\n'
