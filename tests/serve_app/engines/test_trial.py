"""Trials of models in a process of their own, with engines that stand in for real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from schemas.settings import ModelSettings
from serve_app.engines.errors import EngineError
from serve_app.engines.trial import TrialClip, try_model
from serve_app.system.memory import peak_bytes
from tests.standin import marked_clip

STANDIN = "tests.standin:StandInEngine"


def recording(folder: Path, name: str, clip: np.ndarray) -> TrialClip:
    path = folder / f"{name}.wav"
    soundfile.write(path, clip, 16_000)
    return TrialClip(str(path))


@pytest.mark.slow
def test_a_trial_reports_what_was_seen(tmp_path: Path) -> None:
    speech = [
        recording(tmp_path, "good", np.full(8000, 0.1, np.float32)),
        recording(tmp_path, "refused", marked_clip("reject")),
    ]
    report = try_model(ModelSettings(engine=STANDIN), speech)
    assert (report.model_class, report.parameters) == (STANDIN, None)
    assert (report.device, report.sample_rate, report.gpu_bytes) == ("cpu", 16_000, 0)
    assert report.audio_seconds == 1.0
    assert report.seconds > 0
    assert report.load_seconds >= 0
    assert report.import_seconds > 0
    assert report.peak_bytes > 20 << 20  # Python alone has as much
    assert [bool(text) for text in report.texts] == [True, False]
    assert len(report.rejections) == 1
    assert len(report.quiet_texts) == 2


def test_an_engine_is_told_the_language_of_a_clip(tmp_path: Path) -> None:
    clip = recording(tmp_path, "german", np.full(8000, 0.1, np.float32))
    speech = [TrialClip(clip.path, language="de"), clip]
    report = try_model(ModelSettings(engine="tests.workers.doctor.engines:Told"), speech)
    assert report.texts == ["de", ""]
    assert report.quiet_texts == ["", ""]


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ("no.such.module:Engine", "there is no module no"),
        ("tests.standin:NoEngine", "has no class `NoEngine`"),
        ("json:JSONDecoder", "has no `transcribe`"),
    ],
)
def test_an_engine_that_cannot_be_loaded_says_why(engine: str, said: str) -> None:
    with pytest.raises(EngineError, match=said):
        try_model(ModelSettings(engine=engine))


def test_a_crash_harms_nobody_else_and_names_the_exit_code(tmp_path: Path) -> None:
    speech = [recording(tmp_path, "crash", marked_clip("crash"))]
    with pytest.raises(EngineError, match="its trial ended with exit code "):
        try_model(ModelSettings(engine=STANDIN), speech)


def test_speech_that_cannot_be_read_is_not_the_models_fault(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"the speech of the trial: .*gone"):
        try_model(ModelSettings(engine=STANDIN), [TrialClip(str(tmp_path / "gone.wav"))])


def test_the_peak_of_memory_stays_when_memory_is_given_back() -> None:
    block = np.ones(64 << 20, np.uint8)
    resident = psutil.Process().memory_info().rss
    del block
    assert peak_bytes() > 0.9 * resident  # the kernel counts roughly
