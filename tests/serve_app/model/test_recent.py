from __future__ import annotations

from schemas.failures import ErrorCode
from serve_app.engines.base import Hypothesis, Rejection
from serve_app.model.protocol import ModelInfo, Outcome
from serve_app.model.recent import RecentWork

INFO = ModelInfo(name="m", sha256="", device="cpu", sample_rate=16_000)
TEXT = Outcome(Hypothesis(text="a"), 0.0, 1.0)
FAULT = Outcome(Rejection(code=ErrorCode.MODEL_FAULT, message="no"), 0.0, 1.0)


def test_the_last_minute_counts() -> None:
    at = [0.0]
    recent = RecentWork(lambda: at[0])
    at[0] = 30.0
    recent.add(60.0, [TEXT, FAULT])
    found = recent.described(INFO)
    assert (found.audio_per_s, found.failed) == (2.0, 1)
    assert found.last_failure.startswith("model_fault at 20")
    at[0] = 80.0
    recent.add(30.0, [TEXT])
    assert (recent.described(INFO).audio_per_s, recent.described(INFO).failed) == (1.5, 1)
    at[0] = 91.0
    found = recent.described(INFO)
    assert (found.audio_per_s, found.failed) == (0.5, 0)
    assert found.last_failure.startswith("model_fault at")  # it is still the last one


def test_nothing_done_is_nothing() -> None:
    assert RecentWork(lambda: 5.0).described(INFO) == INFO


def test_the_speed_is_audio_over_work() -> None:
    at = [0.0]
    recent = RecentWork(lambda: at[0])
    assert recent.rtfx is None
    recent.add(60.0, [Outcome(TEXT.result, 0.0, 500.0), Outcome(TEXT.result, 9.0, 1500.0)])
    assert recent.rtfx == 30.0
    at[0] = 61.0
    assert recent.rtfx is None
