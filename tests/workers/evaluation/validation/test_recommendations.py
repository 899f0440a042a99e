"""Each piece of advice: a model or speech that calls for it, and one that does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from schemas.failures import ErrorCode
from schemas.requests import ClipRequest
from serve_app.audio.clip import Clip
from serve_app.audio.measures import bandwidth_hz, snr_db
from serve_app.engines.base import Hypothesis, Rejection
from tests.workers.evaluation import scripted
from tests.workers.evaluation.scripted import RATE, half, number_of, text_of, write_set
from workers.evaluation.systems.base import FunctionSystem
from workers.evaluation.validation.validate import validate


def advice(system: FunctionSystem, manifest: Path, stressed: int = 0) -> dict[str, str]:
    found = validate(system, manifest, stressed=stressed)
    for each in found.recommendations:
        assert each.numbers
        assert all(np.isfinite(value) for value in each.numbers.values())
    return {each.code: each.message for each in found.recommendations}


def errs(where: Callable[[Clip], bool], spoil: scripted.Spoil = half) -> FunctionSystem:
    return scripted.system(errs=where, spoil=spoil)


def always(clip: Clip) -> bool:
    return True


def test_a_perfect_model_gets_no_advice(manifest: Path) -> None:
    assert advice(scripted.system(), manifest, stressed=200) == {}


def test_high_wer(manifest: Path) -> None:
    assert "the WER is 50.0%" in advice(errs(always), manifest)["high_wer"]
    some = errs(lambda clip: number_of(clip) < 4)
    assert "high_wer" not in advice(some, manifest)


def test_a_small_test_set(manifest: Path) -> None:
    one = errs(lambda clip: number_of(clip) == 5)
    assert "is uncertain, from 0.0%" in advice(one, manifest)["small_test_set"]
    assert "small_test_set" not in advice(errs(always), manifest)


@pytest.mark.parametrize(
    ("code", "spoil"),
    [
        ("deletions", lambda words: words[::2]),
        ("insertions", lambda words: [w for word in words for w in (word, "extra")]),
    ],
)
def test_one_kind_of_error(manifest: Path, code: str, spoil: scripted.Spoil) -> None:
    assert "100% of the errors" in advice(errs(always, spoil), manifest)[code]
    assert code not in advice(errs(always), manifest)


def test_words_where_nothing_is_said(tmp_path: Path) -> None:
    silence = {"id": "silence", "audio_filepath": "silence.wav", "text": ""}
    manifest = write_set(tmp_path, [silence])
    soundfile.write(tmp_path / "silence.wav", np.zeros(30 * RATE), RATE)

    def dreams(clips: list[Clip]) -> list[str]:
        return [text_of(number_of(c)) if c.any() else "thank you" for c in clips]

    def sleeps(clips: list[Clip]) -> list[str]:
        return [text_of(number_of(c)) if c.any() else "" for c in clips]

    found = advice(FunctionSystem("dreams", dreams), manifest)
    assert "4.0 words per minute" in found["heard_in_silence"]
    assert "heard_in_silence" not in advice(FunctionSystem("sleeps", sleeps), manifest)


class Fixed(FunctionSystem):
    """Hears with one confidence; where it is 0 it rejects."""

    def __init__(self, confidence: float, spoil: scripted.Spoil) -> None:
        super().__init__("fixed", lambda clips: [])
        self._confidence = confidence
        self._spoil = spoil

    def transcribe(
        self, clips: Sequence[Clip], requests: Sequence[ClipRequest] = ()
    ) -> list[Hypothesis | Rejection]:
        return [self._one(clip) for clip in clips]

    def _one(self, clip: Clip) -> Hypothesis | Rejection:
        if not self._confidence and number_of(clip) == 3:
            return Rejection(code=ErrorCode.MODEL_REJECTED, message="no")
        text = " ".join(self._spoil(text_of(number_of(clip)).split()))
        return Hypothesis(text=text, confidence=self._confidence or None)


def test_confidence_that_is_far_from_the_truth(manifest: Path) -> None:
    found = advice(Fixed(0.95, half), manifest)["confidence"]
    assert "is 95% on average and 50% of its words are right: it is overconfident" in found
    assert "underconfident" in advice(Fixed(0.5, list), manifest)["confidence"]
    assert "confidence" not in advice(Fixed(0.95, list), manifest)


def test_failures(manifest: Path) -> None:
    found = advice(Fixed(0.0, list), manifest)
    assert "no text for 1 of 13 utterances" in found["failures"]
    assert "failures" not in advice(scripted.system(), manifest)


@pytest.mark.parametrize(
    ("code", "where"),
    [
        ("short", lambda clip: len(clip) < 2 * RATE),
        ("long", lambda clip: len(clip) > 15 * RATE),
    ],
)
def test_length(manifest: Path, code: str, where: Callable[[Clip], bool]) -> None:
    found = advice(errs(where), manifest)
    assert "points above the whole set" in found[code]
    assert {"short", "long"} & set(found) == {code}
    assert code not in advice(errs(lambda clip: 2 < len(clip) / RATE < 15), manifest)


@pytest.mark.parametrize(("code", "conditions"), [("noisy", "noisy"), ("telephone", "telephony")])
def test_conditions(tmp_path: Path, code: str, conditions: str) -> None:
    manifest = write_set(tmp_path, conditions=lambda n: conditions if n < 3 else "clean")
    assert code in advice(errs(lambda clip: number_of(clip) < 3), manifest)
    assert code not in advice(errs(always), manifest)


def test_a_field_of_the_manifest(tmp_path: Path) -> None:
    manifest = write_set(tmp_path, ward=lambda n: "er" if n < 3 else "icu")
    found = advice(errs(lambda clip: number_of(clip) < 3), manifest)
    assert found["field"].startswith("ward er: the WER is 50.0%")
    assert "field" not in advice(errs(always), manifest)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "where"),
    [
        ("noise", lambda clip: snr_db(clip, RATE) < 12),
        ("telephone", lambda clip: bandwidth_hz(clip, RATE) < 4_000),
        (
            "speed",
            lambda clip: abs(len(clip) / RATE / scripted.SECONDS[number_of(clip)] - 1) > 0.05,
        ),
        ("clipping", lambda clip: bool(np.mean(np.abs(clip) == np.abs(clip).max()) > 0.02)),
        ("reverberation", lambda clip: bool(np.mean(np.abs(clip) < 0.01) < 0.1)),
    ],
)
def test_stress(manifest: Path, kind: str, where: Callable[[Clip], bool]) -> None:
    found = advice(errs(where), manifest, stressed=200)
    assert "raises the WER from 0.0% to 50.0%" in found[f"stress_{kind}"]
