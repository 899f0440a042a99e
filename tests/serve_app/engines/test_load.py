from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from schemas.failures import ErrorCode
from schemas.settings import ModelSettings
from serve_app.engines.base import Clip, Hypothesis, Rejection
from serve_app.engines.errors import EngineError
from serve_app.engines.load import check_engine, load_engine


class Loudness:
    """An engine of one's own: says how loud a clip is."""

    sample_rate = 8000
    sha256 = ""
    device = "cpu"

    def __init__(self, settings: ModelSettings) -> None:
        self.unit = settings.options.get("unit", "rms")

    def transcribe(
        self, clips: Sequence[Clip], *, words: bool = False
    ) -> list[Hypothesis | Rejection]:
        return [Hypothesis(text=f"{np.std(clip):.2f} {self.unit}") for clip in clips]


class Nothing(Loudness):
    def transcribe(
        self, clips: Sequence[Clip], *, words: bool = False
    ) -> list[Hypothesis | Rejection]:
        return []


class Refusing(Loudness):
    def transcribe(
        self, clips: Sequence[Clip], *, words: bool = False
    ) -> list[Hypothesis | Rejection]:
        return [Rejection(code=ErrorCode.MODEL_REJECTED, message="no") for _ in clips]


class Raising(Loudness):
    def transcribe(
        self, clips: Sequence[Clip], *, words: bool = False
    ) -> list[Hypothesis | Rejection]:
        raise ZeroDivisionError("lost")


class Incomplete:
    def __init__(self, settings: ModelSettings) -> None: ...


class Failing:
    def __init__(self, settings: ModelSettings) -> None:
        raise KeyError("weights")


def named(name: str, **options: str) -> ModelSettings:
    return ModelSettings(engine=f"{__name__}:{name}", options=dict(options))


def test_an_engine_of_ones_own() -> None:
    engine = load_engine(named("Loudness", unit="volts"))
    assert engine.transcribe([np.zeros(10, np.float32)]) == [Hypothesis(text="0.00 volts")]
    check_engine(engine)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Absent", "AttributeError"),
        ("Failing", "KeyError: 'weights'"),
        ("Incomplete", "has no `sample_rate`"),
    ],
)
def test_an_engine_that_cannot_be_loaded(name: str, reason: str) -> None:
    with pytest.raises(EngineError, match=rf"{__name__}:{name}.*{reason}"):
        load_engine(named(name))


def test_a_module_that_does_not_exist() -> None:
    with pytest.raises(EngineError, match="No module named 'absent'"):
        load_engine(ModelSettings(engine="absent.module:Class"))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Nothing", "0 results for one clip"),
        ("Refusing", "rejects a second of noise: no"),
        ("Raising", "ZeroDivisionError: lost"),
    ],
)
def test_an_engine_that_does_not_work(name: str, reason: str) -> None:
    with pytest.raises(EngineError, match=reason):
        check_engine(load_engine(named(name)))


@pytest.mark.nemo
def test_the_nemo_engine_is_named_nemo(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"absent\.nemo: cannot be read"):
        load_engine(ModelSettings(engine="nemo", path=str(tmp_path / "absent.nemo")))
