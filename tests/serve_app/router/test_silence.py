"""Words where nobody speaks: left out where that is asked for, and told."""

from __future__ import annotations

import numpy as np
import pytest

from deploy.local import ROOT
from schemas.requests import CallOptions
from schemas.settings import AudioSettings, Settings
from schemas.text_rules import TextRule, TextRules
from schemas.transcript import Suppressed, Transcript, Word
from serve_app.audio import AudioLoader
from serve_app.audio.clip import SAMPLE_RATE, Clip, Recording
from serve_app.audio.voice_activity import FRAME_S
from serve_app.engines.base import Hypothesis
from serve_app.model.protocol import Outcome
from serve_app.router.silence import MARGIN_S, without_silence
from serve_app.router.transcriber import Transcriber
from serve_app.routing.plans import Decision
from tests.serve_app.router.fake_models import FakeModel, load, record, settings

ASKED = CallOptions(max_no_speech_prob=0.9)


def speech(*spans: tuple[float, float], seconds: float = 10.0) -> Clip:
    """Probabilities of frames: 0.99 in `spans`, in seconds, and 0.02 elsewhere."""
    times = np.arange(round(seconds / FRAME_S)) * FRAME_S
    spoken = [(start <= times) & (times < end) for start, end in spans]
    return np.where(np.any([*spoken, times < 0], axis=0), 0.99, 0.02).astype(np.float32)


def heard(*words: tuple[str, float, float]) -> Decision:
    found = [Word(*each, 0.5) for each in words]
    return Decision(" ".join(each.word for each in found), "general", 0.5, found)


def test_words_in_speech_stay_as_they_are() -> None:
    found = heard(("send", 1.0, 1.4), ("it", 1.5, 1.7))
    assert without_silence(found, speech((0.9, 1.8)), 0.9) == (found, [])


def test_words_in_silence_go_and_neighbours_are_told_as_one() -> None:
    found = heard(("uh", 0.1, 0.2), ("a", 0.3, 0.4), ("send", 3.0, 3.4), ("e", 8, 8.1))
    left, gone = without_silence(found, speech((2.9, 3.5)), 0.9)
    assert left.text == "send"
    assert left.words == [Word("send", 3.0, 3.4, 0.5)]
    assert gone == [
        Suppressed(text="uh a", start=0.1, end=0.4),
        Suppressed(text="e", start=8, end=8.1),
    ]


def test_a_word_near_speech_stays() -> None:
    found = heard(("send", 3.0 - MARGIN_S, 3.1 - MARGIN_S))
    assert without_silence(found, speech((3.0, 3.2)), 0.9)[1] == []


@pytest.mark.parametrize(("limit", "text"), [(0.9, ""), (0.99, "send it")])
def test_the_limit(limit: float, text: str) -> None:
    found = heard(("send", 1.0, 1.4), ("it", 1.5, 1.7))
    assert without_silence(found, speech(), limit)[0].text == text


def test_a_text_without_times_is_judged_as_a_whole() -> None:
    found = Decision("send it", "general", 0.5, None)
    assert without_silence(found, speech((1, 2)), 0.9) == (found, [])
    left, gone = without_silence(found, speech(), 0.9)
    assert left.text == ""
    assert gone == [Suppressed(text="send it", start=0.0, end=9.984)]


def test_no_text_is_nothing_to_suppress() -> None:
    found = Decision("", "general", None, [])
    assert without_silence(found, speech(), 0.9) == (found, [])


def test_words_at_and_beyond_the_end_of_the_clip() -> None:
    found = heard(("send", 9.9, 10.0), ("it", 10.6, 10.7))
    assert without_silence(found, speech((9.8, 10)), 0.9)[1] == []
    assert without_silence(found, speech(), 0.9)[0].text == ""


# --- in the Router -----------------------------------------------------------------------------

NOISE = np.random.default_rng(0).normal(0, 0.05, 3 * SAMPLE_RATE).astype(np.float32)


class Gibberish(FakeModel):
    """Hears something in anything."""

    def _outcome(self, clip: Clip, phrases: tuple[str, ...]) -> Outcome:
        words = [Word("bp", 0.5, 0.7), Word("uh", 2.0, 2.2)]
        return Outcome(Hypothesis(text="bp uh", words=words), queue_ms=1, model_ms=2)


def router_of(chosen: Settings) -> Transcriber:
    return Transcriber(chosen, {"general": Gibberish(), "medical": Gibberish()}, load)


def a_voice() -> Clip:
    loader = AudioLoader(AudioSettings(roots=[str(ROOT / "deploy/demo/speech")]))
    return loader.load("medical/medical-demo-00001.opus", duration=3.0)


async def test_noise_has_no_text_where_that_is_asked_for() -> None:
    router = router_of(settings())
    [result] = await router.transcribe([record(0)], clips=[Recording(NOISE)], options=ASKED)
    assert isinstance(result, Transcript)
    assert (result.pred_text, result.heard_text) == ("", "bp uh")
    assert result.suppressed is not None
    assert [each.text for each in result.suppressed] == ["bp uh"]


async def test_a_voice_has_its_text() -> None:
    router = router_of(settings())
    [result] = await router.transcribe([record(0)], clips=[Recording(a_voice())], options=ASKED)
    assert isinstance(result, Transcript)
    assert (result.pred_text, result.suppressed) == ("bp uh", None)


async def test_nothing_is_suppressed_unless_it_is_asked_for() -> None:
    router = router_of(settings())
    [result] = await router.transcribe([record(0, text="bp uh")], clips=[Recording(NOISE)])
    assert isinstance(result, Transcript)
    assert (result.pred_text, result.wer, result.suppressed) == ("bp uh", 0.0, None)


async def test_the_settings_ask_for_records_of_the_stream() -> None:
    chosen = settings()
    chosen.routing.max_no_speech_prob = 0.9
    [result] = await router_of(chosen).transcribe([record(0)], clips=[Recording(NOISE)])
    assert isinstance(result, Transcript)
    assert result.pred_text == ""


async def test_text_rules_apply_to_what_is_left() -> None:
    chosen = settings()
    rules = [TextRule(find="bp", replace="blood pressure")]
    chosen.text_rules = {"short": TextRules(rules=rules)}
    chosen.models["general"].text_rules = "short"
    half = np.concatenate([a_voice()[: int(1.2 * SAMPLE_RATE)], np.zeros(3 * SAMPLE_RATE)])
    clips = [Recording(half.astype(np.float32))]
    [result] = await router_of(chosen).transcribe([record(0)], clips=clips, options=ASKED)
    assert isinstance(result, Transcript)
    assert (result.pred_text, result.heard_text) == ("blood pressure", "bp uh")
