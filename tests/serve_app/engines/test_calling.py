"""Calling an engine that is wrong about some clips, or about all of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from schemas.failures import ErrorCode, FailureClass, failure_class
from schemas.requests import ClipRequest
from serve_app.audio.clip import Clip
from serve_app.engines.base import Hypothesis, Rejection
from serve_app.engines.calling import call_isolated
from serve_app.engines.errors import EngineError
from tests.asking import alike

Answer = Callable[[], Any]


class Mistaken:
    """Answers with what `answer` makes for clips of ones, and rightly for others."""

    sample_rate = 8000
    sha256 = ""
    device = "cpu"

    def __init__(self, answer: Answer, *, always: bool = False) -> None:
        self.answer, self.always = answer, always

    def transcribe(
        self, clips: Sequence[Clip], requests: Sequence[ClipRequest]
    ) -> list[Hypothesis | Rejection]:
        good = Hypothesis(text="send it", confidence=0.5)
        return [self.answer() if self.always or clip[0] == 1 else good for clip in clips]


def a_bug() -> Hypothesis:
    spoken: Any = {"what was said": None}
    return Hypothesis(text="send it" + spoken["what was said"])


def clips_of(*values: float) -> list[Clip]:
    return [np.full(800, value, np.float32) for value in values]


def call(engine: Mistaken, clips: list[Clip]) -> list[Hypothesis | Rejection]:
    return call_isolated(engine, clips, alike(clips))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (a_bug, "TypeError"),
        (lambda: None, "NoneType"),
        (lambda: "send it", "str"),
        (lambda: Hypothesis(text="", confidence=7.0), "`confidence` is 7.0"),
    ],
)
def test_a_fault_over_one_clip_is_the_engine_s_and_spares_the_others(
    answer: Answer, reason: str
) -> None:
    good, bad, last = call(Mistaken(answer), clips_of(0, 1, 0))
    assert isinstance(good, Hypothesis)
    assert good == last
    assert isinstance(bad, Rejection)
    assert bad.code is ErrorCode.MODEL_FAULT
    assert failure_class(bad.code) is FailureClass.SUSPECT  # tried again, and not for ever
    assert f"{__name__}:Mistaken" in bad.message
    assert reason in bad.message


def test_the_log_has_the_traceback_once_and_nothing_of_the_speech(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail() -> Hypothesis:
        raise TypeError("what was said")

    with caplog.at_level(logging.WARNING):
        call(Mistaken(fail), clips_of(0, 0, 1, 0))
    assert caplog.text.count("in fail") == 1
    assert "TypeError" in caplog.text
    assert f"{__name__}:Mistaken" in caplog.text
    assert "what was said" not in caplog.text.replace('raise TypeError("what was said")', "")


@pytest.mark.parametrize("answer", [a_bug, lambda: None])
def test_an_engine_that_is_always_wrong_is_broken(answer: Answer) -> None:
    with pytest.raises(EngineError, match=f"{__name__}:Mistaken"):
        call(Mistaken(answer, always=True), clips_of(0, 0))


def test_the_caller_hears_of_each_call_of_the_engine() -> None:
    calls: list[int] = []
    clips = clips_of(0, 1)
    call_isolated(Mistaken(a_bug), clips, alike(clips), on_call=lambda: calls.append(1))
    assert len(calls) == 3  # both, and each alone
