"""Uploads with several channels: one of them, their mean, or each as a speaker of its own."""

from __future__ import annotations

import hashlib
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest

from schemas.failures import ErrorCode, RecordError
from schemas.manifest import ManifestRecord
from schemas.requests import CallOptions
from schemas.transcript import Suppressed, Transcript, Word
from serve_app.audio.clip import Clip
from serve_app.audio.sandbox import MediaDecoder
from serve_app.http.api import make_api
from serve_app.router.results import Result
from tests.serve_app.http.answers import wrong
from tests.serve_app.http.conftest import (
    RATE,
    FakeRouter,
    client_of,
    encoded,
    noise,
    post,
    settings_of,
)

QUIET, LOUD = noise(3.0), 3 * noise(3.0)[::-1]
CALL = encoded(np.stack([QUIET, LOUD], axis=1))
SAID = {
    0: [Word("hello", 0.1, 0.4, 0.9), Word("there", 0.6, 0.9, 0.9), Word("fine", 2.0, 2.5, 0.9)],
    1: [Word("a<b", 0.3, 0.7, 0.8), Word("good", 1.6, 1.9, 0.8)],
}


def number(clip: Clip) -> int:
    return int(np.std(clip) > 0.2)


@pytest.fixture
def call(router: FakeRouter) -> FakeRouter:
    router.hear = lambda clip: SAID[number(clip)]
    return router


@pytest.mark.parametrize(("channel", "level"), [("0", 0.1), ("1", 0.3), ("mean", 0.158)])
async def test_one_channel(
    client: httpx.AsyncClient, call: FakeRouter, channel: str, level: float
) -> None:
    for name in {channel, channel.replace("mean", "average")}:
        answer = await post(client, CALL, channel=name, response_format="verbose_json")
        assert answer.status_code == 200
        [piece] = answer.json()["pieces"]
        measures = piece["audio_measures"]
        assert measures["channels"] == 2
        assert measures["channel_similarity"] == pytest.approx(0, abs=0.02)
        assert measures.get("channel") == (None if channel == "mean" else int(channel))
        assert {"channels", "channel", "speaker"}.isdisjoint(answer.json())
        assert {"channel", "speaker"}.isdisjoint(answer.json()["segments"][0])
    for clip in call.clips:
        assert float(np.std(clip)) == pytest.approx(level, rel=0.03)
    assert {record.channel for records, _ in call.calls for record in records} == {
        channel if channel == "mean" else int(channel)
    }


async def test_each_channel_is_a_speaker(client: httpx.AsyncClient, call: FakeRouter) -> None:
    fields = {"timestamp_granularities[]": ["word", "segment"]}
    answer = await post(client, CALL, channel="each", response_format="verbose_json", **fields)
    found = answer.json()
    assert found["text"] == "hello there a<b good fine"
    assert found["channels"] == [
        {"channel": 0, "speaker": "Speaker 1", "text": "hello there fine"},
        {"channel": 1, "speaker": "Speaker 2", "text": "a<b good"},
    ]
    assert [(each["word"], each["channel"]) for each in found["words"]] == [
        ("hello", 0),
        ("a<b", 1),
        ("there", 0),
        ("good", 1),
        ("fine", 0),
    ]
    assert [
        (each["id"], each["text"], each["channel"], each["speaker"]) for each in found["segments"]
    ] == [
        (0, "hello there", 0, "Speaker 1"),
        (1, "a<b", 1, "Speaker 2"),
        (2, "good", 1, "Speaker 2"),
        (3, "fine", 0, "Speaker 1"),
    ]
    assert [each["channel"] for each in found["pieces"]] == [0, 1]
    assert (found["duration"], found["usage"]["seconds"]) == (3.0, 6)
    assert sorted(map(number, call.clips)) == [0, 1]
    short = (await post(client, CALL, channel="each")).json()
    assert (short["text"], short["channels"]) == (found["text"], found["channels"])
    sure = (await post(client, CALL, channel="each", **{"include[]": "logprobs"})).json()
    assert " ".join(each["token"] for each in sure["logprobs"]) == sure["text"] == found["text"]
    assert (await post(client, CALL, channel="each", response_format="text")).text == (
        "hello there a<b good fine\n"
    )


async def test_subtitles_say_who_speaks(client: httpx.AsyncClient, call: FakeRouter) -> None:
    fields = {"channel": "each", "min_cue_seconds": "0"}
    answer = await post(client, CALL, response_format="vtt", **fields)
    assert answer.text == (
        "WEBVTT\n\n00:00:00.100 --> 00:00:00.900\n<v Speaker 1>hello there\n\n"
        "00:00:00.300 --> 00:00:00.700\n<v Speaker 2>a&lt;b\n\n"
        "00:00:01.600 --> 00:00:01.900\n<v Speaker 2>good\n\n"
        "00:00:02.000 --> 00:00:02.500\n<v Speaker 1>fine\n"
    )
    answer = await post(client, CALL, response_format="srt", **fields)
    assert answer.text.startswith(
        "1\n00:00:00,100 --> 00:00:00,900\nSpeaker 1: hello there\n\n"
        "2\n00:00:00,300 --> 00:00:00,700\nSpeaker 2: a<b\n\n"
    )


async def test_a_name_takes_no_line_of_a_subtitle(
    client: httpx.AsyncClient, router: FakeRouter
) -> None:
    router.hear = lambda clip: [
        Word("wordy" * 2, n / 10, n / 10 + 0.1) for n in range(20 + number(clip))
    ]
    answer = await post(client, CALL, channel="each", response_format="srt")
    lines = [each.split("\n")[2:] for each in answer.text.strip().split("\n\n")]
    assert len(lines) > 4
    assert all(len(each) <= 2 and max(map(len, each)) <= 42 for each in lines)


async def test_times_of_pieces_are_those_of_the_file(
    decoder: MediaDecoder, router: FakeRouter
) -> None:
    chosen = settings_of(piece_seconds=2)
    router.hear = lambda clip: [Word("ab"[number(clip)], 0.1, 0.3)]
    make_transcript = router._transcript

    def with_suppressed(record: ManifestRecord, options: CallOptions, clip: Clip) -> Transcript:
        gone = [Suppressed(text="uh", start=0.5, end=0.6)]
        return msgspec.structs.replace(make_transcript(record, options, clip), suppressed=gone)

    router._transcript = with_suppressed  # type: ignore[method-assign]
    long = np.stack([noise(9.0), 3 * noise(9.0)[::-1]], axis=1)
    client = client_of(make_api(chosen, router, decoder))
    audio = encoded(long)
    found = (await post(client, audio, channel="each", response_format="verbose_json")).json()
    pieces = [(each["channel"], each["start"]) for each in found["pieces"]]
    assert [channel for channel, _ in pieces] == sorted(channel for channel, _ in pieces)
    assert len(pieces) > 4
    starts = sorted((round(start + 0.1, 3), channel) for channel, start in pieces)
    assert [(each["start"], each["channel"]) for each in found["segments"]] == starts
    assert {each["channel"] for each in found["suppressed"]} == {0, 1}
    assert [each["start"] for each in found["suppressed"]] == sorted(
        each["start"] for each in found["suppressed"]
    )


async def test_without_word_times_the_pieces_take_turns(
    client: httpx.AsyncClient, call: FakeRouter
) -> None:
    call.timed = False
    found = (await post(client, CALL, channel="each", response_format="verbose_json")).json()
    assert found["text"] == "hello there fine a<b good"
    assert [each["speaker"] for each in found["segments"]] == ["Speaker 1", "Speaker 2"]


async def test_the_same_on_both_channels_is_transcribed_once(
    client: httpx.AsyncClient, call: FakeRouter
) -> None:
    found = (await post(client, encoded(np.stack([LOUD] * 2, axis=1)), channel="each")).json()
    assert found["channels"] == [
        {"channel": 0, "speaker": "Speaker 1", "text": "a<b good", "equal": [1]}
    ]
    assert found["usage"]["seconds"] == 3
    assert len(call.clips) == 1


async def test_a_channel_on_which_nobody_speaks(
    client: httpx.AsyncClient, router: FakeRouter
) -> None:
    router.hear = lambda clip: SAID[0] if number(clip) else []
    found = (await post(client, CALL, channel="each")).json()
    assert [each["text"] for each in found["channels"]] == ["", "hello there fine"]
    assert found["text"] == "hello there fine"


async def test_the_channel_that_fails_is_named(client: httpx.AsyncClient, call: FakeRouter) -> None:
    transcribe = call.transcribe

    async def answers(*args: Any, **options: Any) -> list[Result]:
        records = args[0]
        fault = RecordError(id="", code=ErrorCode.MODEL_REJECTED, message="model general: no")
        return [
            fault if each.channel == 1 else found
            for each, found in zip(records, await transcribe(*args, **options), strict=True)
        ]

    call.transcribe = answers  # type: ignore[method-assign]
    answer = await post(client, CALL, channel="each")
    assert (answer.status_code, wrong(answer)["code"]) == (400, "model_rejected")
    assert wrong(answer)["message"] == "channel 1: model general: no"
    answer = await post(client, CALL, channel="1")
    assert wrong(answer)["message"] == "model general: no"


@pytest.mark.parametrize(
    ("fields", "param", "reason"),
    [
        ({"channel": "2"}, "channel", "has the channels 0 to 1, and `channel` is 2"),
        ({"channel": "left"}, "channel", "`channel` must be the number of a channel, from 0"),
        ({"channel": "-1"}, "channel", "`channel` must be"),
        ({"channel": ["0", "1"]}, "channel", "is given more than once"),
        ({"channel": "each", "stream": "true"}, "channel", "name one channel, or `mean`"),
    ],
)
async def test_what_cannot_be(
    client: httpx.AsyncClient, fields: dict[str, Any], param: str, reason: str
) -> None:
    answer = await post(client, CALL, **fields)
    assert answer.status_code == 400
    assert wrong(answer)["param"] == param
    assert reason in wrong(answer)["message"]


async def test_the_seconds_of_all_channels_are_bounded(
    call: FakeRouter, decoder: MediaDecoder
) -> None:
    chosen = settings_of()
    chosen.audio.max_each_seconds = 5.0
    client = client_of(make_api(chosen, call, decoder))
    answer = await post(client, CALL, channel="each")
    assert (answer.status_code, wrong(answer)["code"]) == (413, "audio_too_long")
    assert "the file has 2 channels, 6.0 s together" in wrong(answer)["message"]
    assert (await post(client, CALL, channel="1")).status_code == 200


async def test_the_settings_have_a_default(call: FakeRouter, decoder: MediaDecoder) -> None:
    chosen = settings_of(keys={}, max_requests=4)
    chosen.audio.channel = "each"
    client = client_of(make_api(chosen, call, decoder))
    assert len((await post(client, CALL)).json()["channels"]) == 2
    assert (await post(client, CALL, channel="0")).json()["text"] == "hello there fine"
    answer = await post(client, CALL, stream="true")
    assert (answer.status_code, wrong(answer)["param"]) == (400, "channel")
    assert (await post(client, CALL, stream="true", channel="mean")).status_code == 200


async def test_all_channels_are_charged(call: FakeRouter, decoder: MediaDecoder) -> None:
    key = {"sha256": hashlib.sha256(b"key").hexdigest(), "audio_seconds_per_minute": 5}
    api = make_api(settings_of(keys={"anna": key}), call, decoder)
    client = client_of(api, authorization="Bearer key")
    assert (await post(client, CALL, channel="each")).status_code == 200
    assert (await post(client, CALL, channel="0")).status_code == 429
    assert len(call.clips[0]) == 3 * RATE
