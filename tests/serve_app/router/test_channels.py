"""Records whose channels are transcribed one by one, and those that name one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from deploy.local import ROOT
from schemas.channels import Channel, one_channel
from schemas.failures import ErrorCode, RecordError
from schemas.manifest import ManifestRecord
from schemas.requests import ClipRequest
from schemas.settings import AudioSettings, Condition, Plan, Rule, Settings
from schemas.text_rules import TextRule, TextRules
from schemas.transcript import Transcript, Word, decode_transcript, encode_transcript
from serve_app.audio import AudioLoader
from serve_app.audio.clip import Clip, Recording
from serve_app.engines.base import Hypothesis, Rejection
from serve_app.model.protocol import Outcome, Reply
from serve_app.router.transcriber import Transcriber
from tests.serve_app.router.fake_models import settings

RATE = 16_000


@cache
def voice() -> Clip:
    """Two seconds in which somebody speaks."""
    loader = AudioLoader(AudioSettings(roots=[str(ROOT / "deploy/demo/speech")]))
    return loader.load("medical/medical-demo-00001.opus", offset=0.5, duration=2.0)


class Listener:
    """Hears a clip as the words that it is given for its level, in tenths of full scale."""

    def __init__(self, **said: Sequence[tuple[str, float]] | None) -> None:
        self.said = {int(name.removeprefix("at_")): words for name, words in said.items()}
        self.heard: list[int] = []
        self.replicas = 1
        self.requests: list[ClipRequest] = []

    async def transcribe(
        self, clips: Sequence[Clip], sample_rate: int, requests: Sequence[ClipRequest] = ()
    ) -> Reply:
        self.requests = list(requests)
        return Reply([self._outcome(clip) for clip in clips], sha256="abc")

    def _outcome(self, clip: Clip) -> Outcome:
        level = round(10 * float(np.abs(clip).max()))
        self.heard.append(level)
        said = self.said.get(level, [("noise", 0.5)])
        if said is None:
            refused = Rejection(code=ErrorCode.MODEL_REJECTED, message="no")
            return Outcome(refused, queue_ms=1, model_ms=2)
        words = [Word(word, start, start + 0.2, 0.5) for word, start in said]
        text = " ".join(each.word for each in words)
        return Outcome(Hypothesis(text=text, confidence=0.5, words=words), queue_ms=1, model_ms=2)


def at(level: int) -> Clip:
    """The voice at a level that a `Listener` knows, at another moment for each."""
    later = np.roll(voice(), level * RATE // 40)
    return later * np.float32(level / 10 / np.abs(later).max())


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., ManifestRecord]:
    """Writes the channels of a file, and makes a record of it."""

    def make(*channels: Clip, name: str = "call", **keys: Any) -> ManifestRecord:
        path = tmp_path / f"{name}.wav"
        soundfile.write(path, np.stack(channels, axis=1), RATE, "FLOAT")
        return ManifestRecord(
            **{"id": name, "audio_filepath": str(path), "channel": "each", **keys}
        )

    return make


def router_of(listener: Listener, chosen: Settings | None = None, **options: Any) -> Transcriber:
    chosen = chosen or settings()
    loader = AudioLoader(chosen.audio)

    def load(record: ManifestRecord) -> Recording:
        return loader.read(record.audio_filepath, channel=one_channel(record.channel))

    return Transcriber(chosen, dict.fromkeys(chosen.models, listener), load, **options)


def spoken(result: object) -> Transcript:
    assert isinstance(result, Transcript), result
    assert decode_transcript(encode_transcript(result)) == result
    return result


async def test_each_channel_is_transcribed_and_turns_are_in_time_order(
    write: Callable[..., ManifestRecord],
) -> None:
    listener = Listener(
        at_5=[("hello", 0.1), ("there", 0.4), ("fine", 1.6)], at_8=[("yes", 0.3), ("thanks", 1.2)]
    )
    router = router_of(listener)
    alone = write(at(5), name="alone", channel=None)
    call = write(at(5), at(8), text="Hello there, yes. Thanks! Good.", extra={"ward": 7})
    [plain, result, last] = await router.transcribe([alone, call, alone])
    assert isinstance(plain, Transcript)
    assert (plain.channels, plain.channel, plain.words) == (None, None, None)
    assert last.id == "alone"
    found = spoken(result)
    assert (found.id, found.channel, found.extra) == ("call", "each", {"ward": 7})
    assert found.pred_text == "hello there yes thanks fine", "an utterance stays whole"
    assert [(each.word, each.channel) for each in found.words or ()] == [
        ("hello", 0),
        ("yes", 1),
        ("there", 0),
        ("thanks", 1),
        ("fine", 0),
    ]
    assert [(each.channel, each.text) for each in found.channels or ()] == [
        (0, "hello there fine"),
        (1, "yes thanks"),
    ]
    assert (found.word_errors, found.reference_words) == (1, 5), "against the whole"
    assert found.text == call.text
    assert found.confidence == pytest.approx(0.5)
    assert (found.duration, found.transcribed_seconds) == (2.0, 4.0)
    assert (found.timings.queue_ms, found.timings.model_ms) == (1, 4)
    assert sorted(listener.heard) == [5, 5, 5, 8]
    assert [each.words for each in listener.requests].count(True) == 2
    assert router.memory.held_bytes == 0


async def test_each_channel_has_its_own_measures_and_rules(
    write: Callable[..., ManifestRecord],
) -> None:
    chosen = settings()
    chosen.routing.rules = [
        Rule(name="loud", model="medical", all=[Condition(field="audio.level_dbfs", at_least=-24)]),
        Rule(name="third", model="medical", all=[Condition(field="channel", equals=2)]),
        Rule(name="many", model="general", all=[Condition(field="audio.channels", equals=3)]),
    ]
    listener = Listener(at_1=[("quiet", 0.5)], at_8=[("loud", 1.0)], at_2=[("last", 1.5)])
    [result] = await router_of(listener, chosen).transcribe([write(at(1), at(8), at(2))])
    channels = spoken(result).channels or []
    assert [(each.selected_model, each.rule) for each in channels] == [
        ("general", "many"),
        ("medical", "loud"),
        ("medical", "third"),
    ]
    assert [each.audio_measures["channel"] for each in channels] == [0, 1, 2]
    assert {each.audio_measures["channels"] for each in channels} == {3}


async def test_rules_know_the_channels_of_an_upload() -> None:
    chosen = settings()
    test = Condition(field="audio.channel_similarity", below=0.5)
    chosen.routing.rules = [Rule(name="call", model="medical", all=[test])]
    chosen.audio.channel = "each"  # plays no part: the API has read the channel
    clips = [Recording(at(5), 1, 2, 0.1), Recording(at(5), 1, 2, 0.9), Recording(at(5))]
    records = [ManifestRecord(id=name, audio_filepath="upload") for name in "abc"]
    found = await router_of(Listener(), chosen).transcribe(records, clips=clips)
    assert [each.rule for each in found if isinstance(each, Transcript)] == [
        "call",
        "default",
        "default",
    ]


async def test_each_channel_has_a_vote_of_its_own(write: Callable[..., ManifestRecord]) -> None:
    chosen = settings()
    chosen.plans = {"vote": Plan(ensemble=["general", "medical"])}
    chosen.routing.default = "vote"
    listener = Listener(at_5=[("hello", 0.5)], at_8=[("yes", 1.0), ("sir", 1.2)])
    earlier = {"pred_text_general": "of earlier work", "pred_text_other": "of another service"}
    [result] = await router_of(listener, chosen).transcribe([write(at(5), at(8), extra=earlier)])
    found = spoken(result)
    assert (found.pred_text, found.ensemble_pred_text) == ("hello yes sir", None)
    assert found.extra == {"pred_text_other": "of another service"}
    assert [(each.plan, each.ensemble_model_count) for each in found.channels or ()] == [
        ("vote", 2),
        ("vote", 2),
    ]
    assert found.channels is not None
    assert found.channels[1].pred_texts == {"general": "yes sir", "medical": "yes sir"}


async def test_what_text_rules_write_is_in_the_whole(
    write: Callable[..., ManifestRecord],
) -> None:
    chosen = settings()
    chosen.models["general"].text_rules = "ward"
    chosen.text_rules = {"ward": TextRules(rules=[TextRule(find=["b p"], replace="BP")])}
    listener = Listener(at_5=[("b", 0.1), ("p", 0.3), ("so", 1.6)], at_8=[("and", 0.8)])
    [result] = await router_of(listener, chosen).transcribe([write(at(5), at(8))])
    found = spoken(result)
    assert found.pred_text == "BP and so"
    assert found.channels is not None
    assert (found.channels[0].text, found.channels[0].heard_text) == ("BP so", "b p so")


async def test_a_silent_channel_is_an_empty_text(write: Callable[..., ManifestRecord]) -> None:
    listener = Listener(at_5=[("hello", 0.5)], at_0=[("gibberish", 0.5)])
    [result] = await router_of(listener).transcribe([write(np.zeros_like(at(5)), at(5))])
    found = spoken(result)
    assert [each.text for each in found.channels or ()] == ["", "hello"]
    assert [(each.text, each.channel) for each in found.suppressed or ()] == [("gibberish", 0)]
    assert (found.pred_text, found.confidence) == ("hello", 0.5)


async def test_the_same_on_all_channels_is_transcribed_once(
    write: Callable[..., ManifestRecord],
) -> None:
    listener = Listener(at_5=[("hello", 0.5)])
    call, louder = write(at(5), at(5), at(5)), write(at(5), -1.4 * at(5), name="louder")
    [result, opposite] = await router_of(listener).transcribe([call, louder])
    assert [each.equal for each in spoken(opposite).channels or ()] == [[1]]
    found = spoken(result)
    assert listener.heard == [5, 5]
    assert found.pred_text == "hello"
    [only] = found.channels or []
    assert (only.channel, only.equal) == (0, [1, 2])
    assert only.audio_measures["channel_similarity"] == 1.0
    assert found.transcribed_seconds == 2.0


async def test_a_file_of_one_channel(write: Callable[..., ManifestRecord]) -> None:
    listener = Listener(at_5=[("hello", 0.5)])
    [result] = await router_of(listener).transcribe([write(at(5))])
    assert [(each.channel, each.equal) for each in spoken(result).channels or ()] == [(0, None)]


async def test_the_channel_that_fails_is_named(write: Callable[..., ManifestRecord]) -> None:
    listener = Listener(at_5=[("hello", 0.5)], at_8=None)
    router = router_of(listener)
    call = write(at(5), at(8))
    missing = ManifestRecord(id="gone", audio_filepath="/gone.wav", channel="each")
    [failed, gone] = await router.transcribe([call, missing])
    assert isinstance(failed, RecordError)
    assert (failed.id, failed.code) == ("call", ErrorCode.MODEL_REJECTED)
    assert failed.message == "channel 1: model general: no"
    assert isinstance(gone, RecordError)
    assert (gone.code, gone.message[:10]) == (ErrorCode.AUDIO_MISSING, "/gone.wav:")
    assert router.memory.held_bytes == 0


async def test_the_seconds_of_all_channels_are_bounded(
    write: Callable[..., ManifestRecord],
) -> None:
    chosen = settings()
    chosen.audio.max_each_seconds = 3.9
    router = router_of(Listener(), chosen)
    [result] = await router.transcribe([write(at(5), at(8))])
    assert isinstance(result, RecordError)
    assert result.code is ErrorCode.AUDIO_TOO_LONG
    assert "call.wav: has 2 channels, 4.0 s together; `audio.max_each_seconds` is 3.9" in (
        result.message
    )
    assert router.memory.held_bytes == 0


async def test_memory_for_less_than_all_channels_is_enough(
    write: Callable[..., ManifestRecord],
) -> None:
    listener = Listener(**{f"at_{level}": [(f"w{level}", level / 10)] for level in range(2, 10)})
    chosen = settings(threads=1)
    router = router_of(listener, chosen, max_audio_bytes=4 * RATE)
    calls = [write(*map(at, range(2, 10)), name=f"call-{number}") for number in range(3)]
    results = await router.transcribe(calls)
    assert {spoken(each).pred_text for each in results} == {"w2 w3 w4 w5 w6 w7 w8 w9"}
    assert router.memory.held_bytes == 0


@pytest.mark.parametrize(
    ("asked", "default", "levels"),
    [(None, None, {4}), (1, None, {8}), (None, 1, {8}), (0, "each", {5}), (None, "each", {5, 8})],
)
async def test_the_settings_have_a_default(
    write: Callable[..., ManifestRecord],
    asked: Channel | None,
    default: Channel | None,
    levels: set[int],
) -> None:
    chosen = settings()
    chosen.audio.channel = default
    chosen.models["general"].words = True
    silent_at_first = np.concatenate([np.zeros_like(at(8)), at(8)])
    listener = Listener(at_4=[("a", 0.5)], at_5=[("a", 0.5)], at_8=[("b", 2.5)])
    call = write(np.concatenate([at(5), np.zeros_like(at(5))]), silent_at_first, channel=asked)
    [result] = await router_of(listener, chosen).transcribe([call])
    assert set(listener.heard) == levels
    assert spoken(result).channel == (default if asked is None else asked)
