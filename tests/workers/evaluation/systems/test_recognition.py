from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from schemas.failures import ErrorCode
from schemas.requests import ClipRequest
from serve_app.audio.clip import Clip
from serve_app.engines.base import Engine, Hypothesis, Rejection
from tests.asking import alike
from tests.workers.evaluation import scripted
from workers.evaluation.systems import recognition
from workers.evaluation.systems.base import FunctionSystem, SystemInfo
from workers.evaluation.systems.recognition import Task, recognise, speed
from workers.evaluation.testset import read_test_set


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognition, "CHUNK", 4)


class Counting(FunctionSystem):
    """Counts the clips that it is given to work on; can be interrupted after some."""

    def __init__(self, stop_after: int | None = None, version: str = "") -> None:
        self.clips = 0
        self.loads = 0
        self._stop_after = stop_after
        self._real = scripted.system()
        super().__init__("counting", self._count, version=version)

    def load(self) -> tuple[Engine, SystemInfo]:
        self.loads += 1
        return super().load()

    def _count(self, clips: list[Clip]) -> list[str]:
        if self._stop_after is not None and self.clips >= self._stop_after:
            raise KeyboardInterrupt
        self.clips += len(clips)
        return [
            each.text
            for each in self._real.transcribe(clips, alike(clips))
            if isinstance(each, Hypothesis)
        ]


#: A second of noise for the check, and eight clips before anything is timed.
WARM_UP = 9


def test_results_are_in_the_order_of_the_set_and_timed(manifest: Path) -> None:
    test_set = read_test_set(manifest)
    found = recognise(scripted.system(), [Task("test", test_set)])
    rows = found.heard["test"]
    assert [row.id for row in rows] == [each.id for each in test_set.utterances]
    assert [row.pred_text for row in rows] == [each.text for each in test_set.utterances]
    assert all(row.seconds > 0 for row in rows)
    fast = speed(rows)
    assert fast is not None
    assert fast[0] > 0


def test_after_a_kill_only_what_is_left_is_done(manifest: Path, tmp_path: Path) -> None:
    tasks = [Task("test", read_test_set(manifest))]
    work = tmp_path / "work"
    told: list[int] = []

    def report(name: str, done: int, total: int) -> None:
        told.append(done)

    first = Counting(stop_after=WARM_UP + 8)
    with pytest.raises(KeyboardInterrupt):
        recognise(first, tasks, folder=work)
    second = Counting()
    found = recognise(
        second, tasks, folder=work, report=lambda name, done, total: told.append(done)
    )
    assert second.clips == 5 + 1 + 5  # warm-up of what is left, the check, and what is left
    assert told == [8, 12, 13]
    assert len(found.heard["test"]) == 13
    third = Counting()
    assert recognise(third, tasks, folder=work).heard == found.heard
    assert third.loads == 0


def test_another_model_or_another_set_never_gets_these_results(
    manifest: Path, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    recognise(Counting(), [Task("test", read_test_set(manifest))], folder=work)
    newer = Counting(version="2")
    recognise(newer, [Task("test", read_test_set(manifest))], folder=work)
    assert newer.clips == WARM_UP + 13
    other = scripted.write_set(tmp_path / "speech", note="changed")
    again = Counting()
    recognise(again, [Task("test", read_test_set(other))], folder=work)
    assert again.clips == WARM_UP + 13


def test_the_same_lines_in_another_folder_are_other_recordings(
    manifest: Path, tmp_path: Path
) -> None:
    recognise(Counting(), [Task("test", read_test_set(manifest))], folder=tmp_path / "work")
    other = scripted.write_set(tmp_path / "noisy", speaker=lambda n: f"s{n % 2}")
    assert other.read_bytes() == manifest.read_bytes()
    again = Counting()
    recognise(again, [Task("test", read_test_set(other))], folder=tmp_path / "work")
    assert again.clips == WARM_UP + 13


def test_failures_are_tried_again_and_nothing_else(manifest: Path, tmp_path: Path) -> None:
    class Failing(FunctionSystem):
        failing = True
        given = 0

        def transcribe(
            self, clips: Sequence[Clip], requests: Sequence[ClipRequest] = ()
        ) -> list[Hypothesis | Rejection]:
            Failing.given += len(clips)
            no = Rejection(code=ErrorCode.MODEL_OUT_OF_MEMORY, message="too long")
            long = [Failing.failing and len(c) > 10 * scripted.RATE for c in clips]
            return [no if failed else Hypothesis(text="x") for failed in long]

    system = Failing("failing", lambda clips: [])
    tasks = [Task("test", read_test_set(manifest))]
    found = recognise(system, tasks, folder=tmp_path).heard["test"]
    assert [row.pred_text for row in found] == ["x"] * 10 + [None] * 3
    Failing.failing, Failing.given = False, 0
    found = recognise(system, tasks, folder=tmp_path).heard["test"]
    assert [row.pred_text for row in found] == ["x"] * 13
    assert Failing.given == 1 + 3 + 3  # the check, the warm-up, and what had failed


def test_what_the_engine_rejects_is_a_row_too(manifest: Path) -> None:
    class Picky(FunctionSystem):
        def transcribe(
            self, clips: Sequence[Clip], requests: Sequence[ClipRequest] = ()
        ) -> list[Hypothesis | Rejection]:
            no = Rejection(code=ErrorCode.MODEL_REJECTED, message="too long")
            return [no if len(c) > 5 * scripted.RATE else Hypothesis(text="x") for c in clips]

    system = Picky("picky", lambda clips: [])
    rows = recognise(system, [Task("test", read_test_set(manifest))]).heard["test"]
    assert [row.pred_text for row in rows[:7]] == ["x"] * 7
    assert rows[-1].pred_text is None
    assert rows[-1].processing_error == "model_rejected: too long"


def test_the_engine_is_told_the_language_of_each_record(tmp_path: Path) -> None:
    class Told(FunctionSystem):
        def transcribe(
            self, clips: Sequence[Clip], requests: Sequence[ClipRequest] = ()
        ) -> list[Hypothesis | Rejection]:
            return [Hypothesis(text=each.language or "none") for each in requests]

    manifest = scripted.write_set(tmp_path / "speech", lang=lambda n: ("de", "en-GB", None)[n % 3])
    test_set = read_test_set(manifest)
    rows = recognise(Told("told", lambda clips: []), [Task("test", test_set)]).heard["test"]
    assert [row.pred_text for row in rows[:4]] == ["de", "en-GB", "none", "de"]


def test_a_transform_is_applied_before_recognition(manifest: Path) -> None:
    test_set = read_test_set(manifest)
    tasks = [
        Task("test", test_set),
        Task("louder", test_set, lambda utterance, clip, rate: clip * 2),
    ]
    loud = max(abs(float(c.max())) for c in [scripted.voice(1.0)])
    system = scripted.system(errs=lambda clip: bool(abs(clip).max() > 1.5 * loud))
    found = recognise(system, tasks).heard
    assert found["test"][0].pred_text == test_set.utterances[0].text
    assert found["louder"][0].pred_text != test_set.utterances[0].text
