"""Engines and pretrained models that cannot be are found without loading one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from schemas.requests import ClipRequest
from schemas.settings import AudioSettings, ModelSettings, Routing, Settings
from serve_app.audio.clip import Clip
from serve_app.engines.available import (
    engine_class,
    engine_faults,
    language_faults,
    pretrained_faults,
)
from serve_app.engines.errors import EngineError
from serve_app.engines.nemo.pretrained import pretrained_fault


class Echo:
    def transcribe(self, clips: Sequence[Clip], requests: Sequence[ClipRequest]) -> list[str]:
        return []


class Forgetful:
    def transcribe(self, clips: Sequence[Clip]) -> list[str]:
        return []


class Mute: ...


def make_echo(settings: ModelSettings) -> Echo:
    return Echo()


@pytest.mark.parametrize("name", ["Echo", "make_echo"])
def test_a_class_or_a_function_makes_an_engine(name: str) -> None:
    assert engine_class(f"{__name__}:{name}") is globals()[name]


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ("absent.part:Echo", "there is no module absent; put it on the Python path"),
        (f"{__name__}.part:Echo", "there is no module"),
        (f"{__name__}:Ehco", r"has no class `Ehco`; did you mean `Echo`\?"),
        (f"{__name__}:Forgetful", "`transcribe` takes no requests"),
        (f"{__name__}:Mute", "has no `transcribe`"),
    ],
)
def test_an_engine_that_cannot_be_is_a_fault_of_its_model(engine: str, said: str) -> None:
    with pytest.raises(EngineError, match=said):
        engine_class(engine)
    models = {"good": ModelSettings(engine=f"{__name__}:Echo"), "bad": ModelSettings(engine=engine)}
    ((key, reason),) = engine_faults(models)
    assert key == "models.bad.engine"
    assert engine in reason


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"pcn": True}, r"options\.pcn: no such key; did you mean `pnc`\?"),
        (
            {"compression_ratio_threshold": 0},
            r"options\.compression_ratio_threshold: Expected `float` > 0",
        ),
        ({"task": "ast"}, r"options\.task: translations are not supported"),
    ],
)
def test_options_that_no_nemo_model_has_are_faults(options: dict[str, Any], said: str) -> None:
    models = {
        "good": ModelSettings(path="a.nemo", options={"language": "de", "pnc": False}),
        "bad": ModelSettings(path="b.nemo", options=options),
    }
    ((key, reason),) = engine_faults(models)
    assert key == "models.bad.options"
    assert re.search(said, reason)


def test_a_module_that_fails_says_why_and_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "failing_engine.py").write_text("import json\nimport no_such_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EngineError, match=r"no_such_dependency.*:2 in failing_engine\.py"):
        engine_class("failing_engine:Echo")


def test_an_engine_error_is_one_line_whatever_it_quotes() -> None:
    assert str(EngineError("not found.\n  Check the list\n")) == "not found. Check the list"


@pytest.mark.parametrize("name", ["nvidia/parakeet tdt", "/x", "nvidia/", "a/b/c", "../a"])
def test_a_name_that_hugging_face_cannot_have(name: str) -> None:
    assert "OWNER/MODEL" in (pretrained_fault(name) or "")
    assert pretrained_fault("nvidia/parakeet-tdt-0.6b-v2") is None


@pytest.mark.nemo
def test_a_name_that_nemo_does_not_know_has_its_nearest() -> None:
    models = {
        "good": ModelSettings(pretrained="stt_en_conformer_ctc_small"),
        "bad": ModelSettings(pretrained="stt_en_conformr_ctc_small"),
        "own": ModelSettings(engine="a:B", pretrained="anything"),
    }
    ((key, reason),) = pretrained_faults(models)
    assert key == "models.bad.pretrained"
    assert "did you mean `stt_en_conformer_ctc_small`?" in reason


class Polyglot(Echo):
    def identify_languages(self, clips: Sequence[Clip]) -> list[None]:
        return [None] * len(clips)


@pytest.mark.parametrize(
    ("engine", "identifies"),
    [
        ("faster-whisper", True),
        ("transformers", True),
        (f"{__name__}:Polyglot", True),
        (f"{__name__}:make_echo", True),  # known when it is called
        (f"{__name__}:Echo", False),
        ("nemo", False),
        ("absent:Echo", True),  # another fault
    ],
)
def test_a_language_model_has_an_engine_that_identifies_languages(
    engine: str, identifies: bool
) -> None:
    settings = Settings(
        models={"heard": ModelSettings(engine=engine, path="x")},
        routing=Routing(default="heard", language_model="heard"),
        audio=AudioSettings(roots=["/"]),
    )
    faults = list(language_faults(settings))
    if identifies:
        assert not faults
    else:
        [(key, reason)] = faults
        assert key == "routing.language_model"
        assert f"the engine of `heard`, {engine}, identifies no languages" in reason
