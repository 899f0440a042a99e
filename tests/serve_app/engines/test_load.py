from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from schemas.failures import ErrorCode
from schemas.requests import DEFAULT_REQUEST, ClipRequest
from schemas.settings import ModelSettings
from schemas.transcript import Word
from serve_app.audio.clip import Clip
from serve_app.engines.base import Hypothesis, Rejection
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
        self, clips: Sequence[Clip], requests: Sequence[ClipRequest]
    ) -> list[Hypothesis | Rejection]:
        return [Hypothesis(text=f"{np.std(clip):.2f} {self.unit}") for clip in clips]


class Nothing(Loudness):
    def transcribe(
        self, clips: Sequence[Clip], requests: Sequence[ClipRequest]
    ) -> list[Hypothesis | Rejection]:
        return []


class Refusing(Loudness):
    def transcribe(
        self, clips: Sequence[Clip], requests: Sequence[ClipRequest]
    ) -> list[Hypothesis | Rejection]:
        return [Rejection(code=ErrorCode.MODEL_REJECTED, message="no") for _ in clips]


class Raising(Loudness):
    def transcribe(
        self, clips: Sequence[Clip], requests: Sequence[ClipRequest]
    ) -> list[Hypothesis | Rejection]:
        raise ZeroDivisionError("lost")


class Wrong(Loudness):
    def transcribe(
        self, clips: Sequence[Clip], requests: Sequence[ClipRequest]
    ) -> list[Hypothesis | Rejection]:
        word = Word("a", 0.0, cast(float, "1.0"))
        return [Hypothesis(text="a", words=[word] if each.words else None) for each in requests]


class Fractional(Loudness):
    sample_rate = cast(int, np.float64(16_000))


class Unhashed(Loudness):
    sha256 = cast(str, None)


class Long(Loudness):
    def __init__(self, settings: ModelSettings) -> None:
        raise RuntimeError("no such file: weights.bin\nThe folder has:\n  other.bin")


class Pickled(Loudness):
    """Its weights are a pickle that runs code."""

    def __init__(self, settings: ModelSettings) -> None:
        import torch

        weights = io.BytesIO()
        torch.save({"weights": os.getcwd}, weights)
        weights.seek(0)
        torch.load(weights, weights_only=True)


class Incomplete:
    def __init__(self, settings: ModelSettings) -> None: ...

    def transcribe(
        self, clips: Sequence[Clip], requests: Sequence[ClipRequest]
    ) -> list[Hypothesis | Rejection]:
        return []


class Failing(Loudness):
    def __init__(self, settings: ModelSettings) -> None:
        raise KeyError("weights")


def named(name: str, **options: str) -> ModelSettings:
    return ModelSettings(engine=f"{__name__}:{name}", options=dict(options))


def test_an_engine_of_ones_own() -> None:
    engine = load_engine(named("Loudness", unit="volts"))
    assert engine.transcribe([np.zeros(10, np.float32)], [DEFAULT_REQUEST]) == [
        Hypothesis(text="0.00 volts")
    ]
    check_engine(engine)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Absent", "has no class `Absent`"),
        ("Failing", "KeyError: 'weights'"),
        ("Incomplete", "has no `sample_rate`"),
        ("Fractional", "its `sample_rate` is of the type float64, not int"),
        ("Unhashed", "its `sha256` is of the type NoneType, not str"),
        ("Long", "no such file: weights.bin The folder has: other.bin"),
        ("Pickled", r"other than tensors \(posix.getcwd\)"),
    ],
)
def test_an_engine_that_cannot_be_loaded(name: str, reason: str) -> None:
    with pytest.raises(EngineError, match=rf"{__name__}:{name}.*{reason}"):
        load_engine(named(name))


def test_nobody_is_advised_to_run_the_code_of_a_model() -> None:
    with pytest.raises(EngineError) as caught:
        load_engine(named("Pickled"))
    assert "weights_only" not in str(caught.value)


def test_a_module_that_does_not_exist() -> None:
    with pytest.raises(EngineError, match="there is no module absent"):
        load_engine(ModelSettings(engine="absent.module:Class"))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Nothing", "Nothing fails: it gave 0 results for 1 clips"),
        ("Wrong", r"Wrong fails: `words\[0\].end` is str"),
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
