"""A manifest file in, a manifest of transcripts out: whole, in order, resumable."""

from __future__ import annotations

import json
import os
import resource
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from schemas.failures import ErrorCode, RecordError
from schemas.manifest import ManifestRecord
from schemas.requests import DEFAULT_OPTIONS, CallOptions
from schemas.settings import StreamSettings
from schemas.transcript import Timings, Transcript
from serve_app.audio.clip import Recording
from serve_app.router.protocol import Probe
from serve_app.scoring.wer import count_errors
from workers.evaluation.statistics.scores import pool, score_utterance
from workers.manifests.file_job import FileJob, Progress
from workers.manifests.output_file import ResumeError

STREAM = StreamSettings(batch_records=4, max_pending_records=16, retry_initial_s=0.01)


class EchoBackend:
    """Says each record's id; refuses audio named `missing`; the first calls and probes fail."""

    def __init__(self, failures: int = 0, missing: str = "missing") -> None:
        self.failures = failures
        self.missing = missing
        self.seen: list[str] = []
        self.audio: list[str] = []

    async def transcribe(
        self,
        records: Sequence[ManifestRecord],
        options: CallOptions = DEFAULT_OPTIONS,
        clips: Sequence[Recording] | None = None,
    ) -> list[Transcript | RecordError]:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("down")
        self.seen += [record.id for record in records]
        self.audio += [record.audio_filepath for record in records]
        return [self._one(record) for record in records]

    def _one(self, record: ManifestRecord) -> Transcript | RecordError:
        if record.audio_filepath == self.missing:
            message = f"{record.audio_filepath}: no such file"
            return RecordError(id=record.id, code=ErrorCode.AUDIO_MISSING, message=message)
        heard = f"this is {record.id}"
        errors = None if record.text is None else count_errors(record.text, heard)
        return Transcript(
            id=record.id,
            audio_filepath=record.audio_filepath,
            duration=2.0,
            text=record.text,
            pred_text=heard,
            word_errors=errors.errors if errors else None,
            reference_words=errors.reference if errors else None,
            selected_model="general",
            model_path="general.nemo",
            rule="default",
            timings=Timings(),
            extra=record.extra,
        )

    async def probe(self, timeout_s: float = 5.0) -> Probe:
        self.failures = max(0, self.failures - 1)
        return Probe(router=self.failures == 0)


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


def transcribe_file(
    manifest: Path, output: Path, backend: EchoBackend, settings: str = "0" * 64
) -> Progress:
    with FileJob(manifest, output, settings) as job:
        left = job.left
        progress = job.run(backend, STREAM)
    assert len(set(backend.seen)) <= left
    return progress


EXPECTED = [f"r{n}" if n != 20 else "in.jsonl:21" for n in range(50) if n != 30]


def test_one_line_out_per_line_in_in_order(manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    progress = transcribe_file(manifest, out, EchoBackend())
    assert ids(out) == EXPECTED
    assert (progress.transcribed, progress.failed, progress.audio_seconds) == (47, 2, 94.0)
    written = [json.loads(line) for line in out.read_text().splitlines()]
    assert written[3]["pred_text"] == "this is r3"
    assert written[3]["n"] == 3
    assert written[7]["processing_error"] == "audio_missing: missing: no such file"
    assert written[20]["processing_error"].startswith("record_json: ")


def test_a_failing_backend_loses_nothing(manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    transcribe_file(manifest, out, EchoBackend(failures=8))
    assert ids(out) == EXPECTED


@pytest.mark.parametrize("cut", [0, 1, 700, 2000, 4000])
def test_goes_on_after_a_kill_at_any_byte(manifest: Path, tmp_path: Path, cut: int) -> None:
    out = tmp_path / "out.jsonl"
    transcribe_file(manifest, out, EchoBackend())
    whole = out.read_bytes()
    assert cut < len(whole)
    out.write_bytes(whole[:cut])
    kept = whole[:cut].count(b"\n")
    backend = EchoBackend()
    progress = transcribe_file(manifest, out, backend)
    assert out.read_bytes() == whole
    failed = kept > 7  # r7, which is tried again
    assert progress.resumed == kept - failed
    assert set(backend.seen) & set(EXPECTED[:kept]) == ({"r7"} if failed else set())


def test_a_finished_job_needs_no_model(manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    text = manifest.read_text().replace('"missing"', '"found"')
    manifest.write_text(text)
    transcribe_file(manifest, out, EchoBackend())
    with FileJob(manifest, out, "0" * 64) as job:
        assert job.left == 0
        progress = job.run(EchoBackend(), STREAM)
    assert (progress.resumed, progress.transcribed, progress.failed) == (48, 0, 1)  # one is no JSON


def written(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_failures_are_tried_again_and_take_their_places(tmp_path: Path) -> None:
    records = [{"audio_filepath": "missing" if n % 3 == 0 else "a.wav", "n": n} for n in range(10)]
    manifest, out = write(tmp_path / "in.jsonl", *records), tmp_path / "out.jsonl"
    assert transcribe_file(manifest, out, EchoBackend()).failed == 4
    again = EchoBackend()
    assert transcribe_file(manifest, out, again).failed == 4
    assert again.seen == ["in.jsonl:1", "in.jsonl:4", "in.jsonl:7", "in.jsonl:10"]
    found = EchoBackend(missing="")
    progress = transcribe_file(manifest, out, found)
    assert (progress.resumed, progress.transcribed, progress.failed) == (6, 4, 0)
    assert [line["pred_text"] for line in written(out)] == [
        f"this is in.jsonl:{n}" for n in range(1, 11)
    ]
    assert list(tmp_path.iterdir()) == [manifest, out]


def test_a_changed_manifest_keeps_the_work_that_is_still_in_it(tmp_path: Path) -> None:
    records = [{"audio_filepath": f"{n}.wav"} for n in range(6)]
    manifest, out = write(tmp_path / "in.jsonl", *records), tmp_path / "out.jsonl"
    transcribe_file(manifest, out, EchoBackend())
    changed = [{"audio_filepath": "new.wav"}, *records[:2], {"audio_filepath": "2b.wav"}]
    changed += records[3:]
    backend = EchoBackend()
    with FileJob(write(manifest, *changed), out, "0" * 64) as job:
        assert (job.left, job.dropped) == (2, 1)
        assert job.run(backend, STREAM).resumed == 5
    assert backend.seen == ["in.jsonl:1", "in.jsonl:4"]
    assert [line["audio_filepath"] for line in written(out)] == [
        "new.wav", "0.wav", "1.wav", "2b.wav", "3.wav", "4.wav", "5.wav"
    ]  # fmt: skip
    assert ids(out) == [f"in.jsonl:{n}" for n in range(1, 8)]


def test_a_manifest_whose_only_record_failed_can_be_corrected(tmp_path: Path) -> None:
    manifest, out = write(tmp_path / "in.jsonl", {"audio_filepath": "missing"}), tmp_path / "out"
    transcribe_file(manifest, out, EchoBackend())
    transcribe_file(write(manifest, {"audio_filepath": "a.wav"}), out, EchoBackend())
    (line,) = written(out)
    assert line["audio_filepath"] == "a.wav"
    assert "processing_error" not in line


@pytest.mark.parametrize("front", [[], [{"id": "new", "audio_filepath": "new.wav"}]])
def test_what_was_tried_again_before_an_interruption_is_not_lost(
    tmp_path: Path, front: list[dict[str, Any]]
) -> None:
    records = [{"id": f"r{n}", "audio_filepath": "missing"} for n in range(20)]
    records += [{"id": f"s{n}", "audio_filepath": "a.wav"} for n in range(5)]
    manifest, out = write(tmp_path / "in.jsonl", *records), tmp_path / "out.jsonl"
    transcribe_file(manifest, out, EchoBackend())
    write(manifest, *front, *records)

    def interrupt(progress: Progress) -> None:
        if progress.transcribed >= 8:
            raise KeyboardInterrupt

    first, second = EchoBackend(missing=""), EchoBackend(missing="")
    with FileJob(manifest, out, "0" * 64) as job, pytest.raises(KeyboardInterrupt):
        job.run(first, STREAM, interrupt)
    assert ids(out) == [record["id"] for record in [*front, *records]]
    done = job.progress.transcribed
    assert done >= 8
    progress = transcribe_file(manifest, out, second)
    assert (progress.resumed, progress.failed) == (5 + done, 0)
    assert len(second.seen) == 20 + len(front) - done
    assert ids(out) == [record["id"] for record in [*front, *records]]
    assert all(line["pred_text"] == f"this is {line['id']}" for line in written(out))


def test_other_settings_or_another_manifest_are_refused(tmp_path: Path) -> None:
    manifest, out = write(tmp_path / "in.jsonl", {"audio_filepath": "a.wav"}), tmp_path / "out"
    transcribe_file(manifest, out, EchoBackend())
    before = out.read_bytes()
    with pytest.raises(ResumeError, match="out:1: was made with other models or settings"):
        FileJob(manifest, out, "1" * 64)
    other = write(tmp_path / "other.jsonl", {"audio_filepath": "b.wav"})
    with pytest.raises(ResumeError, match="is the output for another manifest"):
        FileJob(other, out, "0" * 64)
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.wav").touch()
    moved = write(tmp_path / "folder" / "in.jsonl", {"audio_filepath": "a.wav"})
    with pytest.raises(ResumeError, match="is the output for another manifest"):
        FileJob(manifest, out, "0" * 64)  # the path leads to a file now
    assert moved.read_bytes() == manifest.read_bytes()
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    "content", ['{"id": "something else"}\n', '{"id": "one line"}', "no JSON", '{"a":\n 1}', "\n"]
)
def test_another_file_is_never_overwritten(manifest: Path, tmp_path: Path, content: str) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text(content)
    with pytest.raises(ResumeError, match=r"out\.jsonl.* is not the output for this manifest"):
        transcribe_file(manifest, out, EchoBackend())
    assert out.read_text() == content


def test_the_manifest_is_not_its_own_output(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(manifest)
    before = manifest.read_bytes()
    for output in (manifest, tmp_path / "link"):
        with pytest.raises(ResumeError, match="is the manifest itself"):
            FileJob(manifest, output, "0" * 64)
    assert manifest.read_bytes() == before


def test_an_output_is_written_by_one_run_at_a_time(manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    for _ in range(2):  # a new file, and one that is replaced meanwhile
        with FileJob(manifest, out, "0" * 64) as job:
            with pytest.raises(ResumeError, match="another `chorus transcribe` is writing it"):
                FileJob(manifest, out, "0" * 64)
            job.run(EchoBackend(), STREAM)
            with pytest.raises(ResumeError, match="another `chorus transcribe` is writing it"):
                FileJob(manifest, out, "0" * 64)
    assert ids(out) == EXPECTED


def test_a_missing_manifest_leaves_no_output(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileJob(tmp_path / "none.jsonl", tmp_path / "out.jsonl", "0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_names_the_file_and_costs_nothing(manifest: Path, tmp_path: Path) -> None:
    full = pytest.raises(OSError, match="No space left on device: '/dev/full'")
    with FileJob(manifest, Path("/dev/full"), "0" * 64) as job, full:
        job.run(EchoBackend(), STREAM)
    out = tmp_path / "out.jsonl"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, limits[1]))
    try:
        with FileJob(manifest, out, "0" * 64) as job, pytest.raises(OSError, match=str(out)):
            job.run(EchoBackend(), STREAM)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert out.stat().st_size == 1500
    assert transcribe_file(manifest, out, EchoBackend()).resumed > 0
    assert ids(out) == EXPECTED


def test_audio_beside_the_manifest_is_sent_by_its_place_and_told_by_its_name(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.wav").touch()
    names = ["a.wav", "elsewhere.wav", f"file://{tmp_path}/a.wav"]
    lines = [{"audio_filepath": name} for name in names]
    manifest, out = write(tmp_path / "in.jsonl", *lines), tmp_path / "out.jsonl"
    backend = EchoBackend(missing=str(tmp_path / "a.wav"))
    transcribe_file(manifest, out, backend)
    placed = str(tmp_path / "a.wav")
    assert backend.audio == [placed, "elsewhere.wav", placed]
    assert [line["audio_filepath"] for line in written(out)] == names
    errors = [line.get("processing_error") for line in written(out)]
    reason = "no such file"
    assert errors == [
        f"audio_missing: a.wav: {reason}",
        None,
        f"audio_missing: {names[2]}: {reason}",
    ]


def test_errors_are_counted_as_in_an_evaluation(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = [
        {"audio_filepath": "a.wav", "text": "this was in"},  # heard: this is in.jsonl:1
        {"audio_filepath": "b.wav", "text": ""},
        {"audio_filepath": "missing", "text": "five words that are lost"},
        {"audio_filepath": "c.wav"},
    ]
    manifest, out = write(tmp_path / "in.jsonl", *records), tmp_path / "out.jsonl"
    for _ in range(2):  # the second run counts what is there
        progress = transcribe_file(manifest, out, EchoBackend())
        heard = [line.get("pred_text") for line in written(out)]
        assert heard[1:3] == ["this is in.jsonl:2", None]
        score = pool(
            score_utterance(each["text"], text) if "text" in each else None
            for each, text in zip(records, heard, strict=True)
        )
        assert (progress.word_errors, progress.reference_words) == (
            score.words.errors,
            score.words.reference,
        )
    assert score.words.errors > 5 + 4


def test_a_pipe_is_written_from_the_start(manifest: Path, tmp_path: Path) -> None:
    pipe, lines = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: lines.extend(pipe.read_text().splitlines()))
    reader.start()
    transcribe_file(manifest, pipe, EchoBackend())
    reader.join()
    assert [json.loads(line)["id"] for line in lines] == EXPECTED
    assert not any("resume_key" in line for line in lines)
