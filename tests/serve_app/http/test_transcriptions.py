"""`POST /v1/audio/transcriptions`: every format, long audio, and what goes wrong."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import httpx
import numpy as np
import pytest

from schemas.failures import ErrorCode
from schemas.transcript import Word
from serve_app.audio.untrusted import MediaDecoder
from serve_app.engines.base import Clip
from serve_app.http.api import make_api
from serve_app.http.errors import RETRY_AFTER_S
from tests.serve_app.http.conftest import (
    RATE,
    FakeRouter,
    Make,
    client_of,
    encoded,
    noise,
    post,
    settings_of,
    unnamed_files,
    until,
)
from tests.standin import text_of

pytestmark = pytest.mark.asyncio(loop_scope="package")

#: Starts and ends of beeps in 21.5 s, with pauses in which audio can be cut.
BEEPS = [(round(0.37 + 1.013 * n, 3), round(0.62 + 1.013 * n, 3)) for n in range(20)]


def beeping() -> Clip:
    clip = np.zeros(int(21.5 * RATE), np.float32)
    for start, end in BEEPS:
        clip[round(start * RATE) : round(end * RATE)] = 0.5
    return clip


def hear_beeps(clip: Clip) -> list[Word]:
    """A word for each, exactly where it is."""
    edges = np.flatnonzero(np.diff(clip > 0.25, prepend=False, append=False)) / RATE
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return [Word(f"beep{n}", float(start), float(end), 0.5) for n, (start, end) in enumerate(pairs)]


def wrong(answer: httpx.Response) -> dict[str, Any]:
    """The details of an error."""
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    found: dict[str, Any] = body["error"]
    return found


async def test_json(client: httpx.AsyncClient, router: FakeRouter, wav: bytes) -> None:
    answer = await post(client, wav)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    [clip] = router.clips
    assert len(clip) == 3 * RATE
    assert answer.json() == {"text": text_of(clip), "usage": {"type": "duration", "seconds": 3}}


async def test_log_probabilities(client: httpx.AsyncClient, router: FakeRouter, wav: bytes) -> None:
    router.hear = lambda clip: [Word("né", 0, 1, 0.5), Word("b", 1, 2), Word("c", 2, 3, 1.0)]
    answer = await post(client, wav, **{"include[]": "logprobs"})
    assert answer.json()["logprobs"] == [
        {"token": "né", "logprob": round(math.log(0.5), 4), "bytes": [110, 195, 169]},
        {"token": "c", "logprob": 0.0, "bytes": [99]},
    ]


@pytest.mark.parametrize(
    ("response_format", "media_type", "body"),
    [
        ("text", "text/plain; charset=utf-8", "é b\n"),
        (
            "srt",
            "application/x-subrip; charset=utf-8",
            "1\n00:00:00,500 --> 00:00:01,250\né\n\n2\n00:00:02,100 --> 00:00:02,750\nb\n",
        ),
        (
            "vtt",
            "text/vtt; charset=utf-8",
            "WEBVTT\n\n00:00:00.500 --> 00:00:01.250\né\n\n00:00:02.100 --> 00:00:02.750\nb\n",
        ),
    ],
)
async def test_formats_of_text(
    client: httpx.AsyncClient,
    router: FakeRouter,
    wav: bytes,
    response_format: str,
    media_type: str,
    body: str,
) -> None:
    router.hear = lambda clip: [Word("é", 0.5, 1.25), Word("b", 2.1, 2.75)]
    answer = await post(client, wav, response_format=response_format)
    assert answer.headers["content-type"] == media_type
    assert answer.text == body


async def test_verbose_json(client: httpx.AsyncClient, router: FakeRouter, wav: bytes) -> None:
    router.hear = lambda clip: [Word("a", 0.5, 1.25, 0.5), Word("b", 2.1, 2.75)]
    answer = await post(
        client,
        wav,
        response_format="verbose_json",
        language="en",
        **{"timestamp_granularities[]": ["word", "segment"]},
    )
    found = answer.json()
    [piece] = found.pop("pieces")
    first, second = found.pop("segments")
    assert found == {
        "task": "transcribe",
        "language": "en",
        "duration": 3.0,
        "text": "a b",
        "usage": {"type": "duration", "seconds": 3},
        "words": [
            {"word": "a", "start": 0.5, "end": 1.25, "confidence": 0.5},
            {"word": "b", "start": 2.1, "end": 2.75},
        ],
    }
    assert (first["id"], first["seek"], first["start"], first["end"]) == (0, 50, 0.5, 1.25)
    assert (first["text"], first["avg_logprob"]) == ("a", round(math.log(0.5), 4))
    assert (second["id"], second["text"], second["avg_logprob"]) == (1, "b", None)
    assert 0.5 < first["no_speech_prob"] <= 1, "noise is no speech"
    assert (piece["start"], piece["end"]) == (0.0, 3.0)
    assert (piece["rule"], piece["selected_model"], piece["model_sha256"]) == (
        "default",
        "general",
        "abc",
    )
    assert piece["timings"]["model_ms"] == 1.0


@pytest.mark.parametrize(
    ("granularities", "keys"),
    [([], {"segments"}), (["segment"], {"segments"}), (["word"], {"words"})],
)
async def test_granularities(
    client: httpx.AsyncClient, wav: bytes, granularities: list[str], keys: set[str]
) -> None:
    for name in ("timestamp_granularities[]", "timestamp_granularities"):
        answer = await post(client, wav, response_format="verbose_json", **{name: granularities})
        assert answer.json().keys() & {"words", "segments"} == keys


async def test_audio_in_which_nothing_is_said(
    client: httpx.AsyncClient, router: FakeRouter, wav: bytes
) -> None:
    router.hear = lambda clip: []
    bodies = {
        kind: (await post(client, wav, response_format=kind)).text
        for kind in ("text", "srt", "vtt", "verbose_json")
    }
    assert (bodies["text"], bodies["srt"], bodies["vtt"]) == ("\n", "", "WEBVTT\n")
    found = json.loads(bodies["verbose_json"])
    assert (found["text"], found["segments"], found["language"]) == ("", [], "unknown")
    stream = await post(client, wav, stream="true")
    assert [each["type"] for each in events(stream.text)] == ["transcript.text.done"]


async def test_a_model_without_times_makes_a_segment_of_each_piece(
    make: Make, router: FakeRouter
) -> None:
    router.timed = False
    client = client_of(make(piece_seconds=2))
    answer = await post(client, encoded(noise(5.0)), response_format="verbose_json")
    found = answer.json()
    spans = [(each["start"], each["end"]) for each in found["pieces"]]
    assert len(spans) > 1
    assert [(each["start"], each["end"]) for each in found["segments"]] == spans
    assert [each["text"] for each in found["segments"]] == list(map(text_of, router.clips))
    router.hear = lambda clip: []
    answer = await post(client, encoded(noise(5.0)), response_format="verbose_json")
    assert answer.json()["segments"] == [], "nothing was said"


def events(body: str) -> list[dict[str, Any]]:
    """Those of a stream."""
    *lines, end = body.split("\n\n")
    assert end == ""
    assert all(line.startswith("data: ") for line in lines)
    return [json.loads(line.removeprefix("data: ")) for line in lines]


async def test_a_stream(make: Make, router: FakeRouter) -> None:
    client = client_of(make(piece_seconds=2))
    router.hear = hear_beeps
    answer = await post(client, encoded(beeping()), stream="true", **{"include[]": "logprobs"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache"
    *deltas, done = events(answer.text)
    assert {each["type"] for each in deltas} == {"transcript.text.delta"}
    assert len(deltas) == sum(bool(hear_beeps(clip)) for clip in router.clips) > 8
    assert "".join(each["delta"] for each in deltas) == done["text"]
    assert done["type"] == "transcript.text.done"
    assert done["usage"] == {"type": "duration", "seconds": 22}
    assert len(done["logprobs"]) == len(done["text"].split()) == len(BEEPS)


async def test_times_of_long_audio_are_those_of_the_whole(make: Make, router: FakeRouter) -> None:
    client = client_of(make(piece_seconds=2))
    router.hear = hear_beeps
    answer = await post(
        client,
        encoded(beeping()),
        response_format="verbose_json",
        **{"timestamp_granularities[]": ["word", "segment"]},
    )
    found = answer.json()
    assert [(each["start"], each["end"]) for each in found["words"]] == BEEPS
    assert found["segments"][0]["start"] == BEEPS[0][0]
    assert found["segments"][-1]["end"] == BEEPS[-1][1]
    assert [each["id"] for each in found["segments"]] == list(range(len(found["segments"])))
    pieces = found["pieces"]
    assert max(each["end"] - each["start"] for each in pieces) <= 2.001
    assert [each["end"] for each in pieces[:-1]] == [each["start"] for each in pieces[1:]]
    assert (pieces[0]["start"], pieces[-1]["end"]) == (0.0, found["duration"])


async def test_no_sample_is_lost_and_pieces_share_calls(make: Make, router: FakeRouter) -> None:
    client = client_of(make(piece_seconds=2))
    await post(client, encoded(beeping()))
    np.testing.assert_array_equal(np.concatenate(router.clips), beeping())
    sizes = [len(records) for records, _ in router.calls]
    assert max(sizes) > 1, "one call for each would be slow"
    assert len(sizes) > 1, "one replica would do it all"
    ids = [record.id for records, _ in router.calls for record in records]
    assert len(set(ids)) == len(ids)


async def test_one_file_does_not_take_all_the_places(make: Make, router: FakeRouter) -> None:
    router.gate.clear()
    asked = asyncio.create_task(post(client_of(make(piece_seconds=2)), encoded(noise(100.0))))
    await until(lambda: len(router.calls) >= 4)
    await asyncio.sleep(0.02)
    assert len(router.calls) == 4
    router.gate.set()
    assert (await asked).status_code == 200
    assert len(router.calls) > 4


async def test_nothing_is_left_of_an_upload(
    client: httpx.AsyncClient, router: FakeRouter, wav: bytes
) -> None:
    before = unnamed_files()
    router.errors = [ErrorCode.MODEL_REJECTED]
    answers = [
        await post(client, wav),
        await post(client, wav),
        await post(client, wav, stream="true"),
        await post(client, b"no audio"),
        await post(client, wav, model="nobody"),
    ]
    assert [each.status_code for each in answers] == [422, 200, 200, 422, 404]
    assert unnamed_files() <= before


@pytest.mark.parametrize("kind", ["FLAC", "OGG", "MP3"])
async def test_formats_of_audio(client: httpx.AsyncClient, router: FakeRouter, kind: str) -> None:
    answer = await post(client, encoded(noise(2.0), kind))
    assert answer.status_code == 200
    [clip] = router.clips
    assert len(clip) == pytest.approx(2 * RATE, rel=0.05)


@pytest.mark.parametrize(
    ("model", "target"), [("auto", None), ("medical", "medical"), ("vote", "vote")]
)
async def test_the_router_is_told_what_is_asked_for(
    client: httpx.AsyncClient, router: FakeRouter, wav: bytes, model: str, target: str | None
) -> None:
    await post(client, wav, model=model, language="de", prompt="Ada, Babbage")
    [([record], how)] = router.calls
    assert (how.target, how.words, how.interactive) == (target, True, True)
    assert (record.lang, record.phrases) == ("de", ["Ada", "Babbage"])


async def test_a_version_may_be_named_while_it_is_served(
    router: FakeRouter, decoder: MediaDecoder, wav: bytes
) -> None:
    settings = settings_of()
    settings.models["medical"].path = "models/medical/2/model.nemo"
    client = client_of(make_api(settings, router, decoder))
    answer = await post(client, wav, model="medical:2")
    assert answer.status_code == 200
    assert router.calls[-1][1].target == "medical"
    for name in ("medical:1", "general:2", "vote:2"):
        assert (await post(client, wav, model=name)).status_code == 404


async def test_the_answer_says_whether_phrases_were_listened_for(
    client: httpx.AsyncClient, wav: bytes
) -> None:
    asked = {"response_format": "verbose_json"}
    with_phrases = (await post(client, wav, prompt="Ada", **asked)).json()
    assert with_phrases["pieces"][0]["phrases_used"] == {"general": 0}
    assert "phrases_used" not in (await post(client, wav, **asked)).json()["pieces"][0]
    assert (await post(client, wav, prompt="Ada")).json()["phrases_used"] == {"general": 0}
    assert "phrases_used" not in (await post(client, wav)).json()


@pytest.mark.parametrize(
    ("audio", "status", "code"),
    [
        (b"", 422, "audio_empty"),
        (b"no audio", 422, "audio_undecodable"),
        (encoded(noise(1.0), "AIFF"), 415, "audio_unsupported"),
        (encoded(noise(1.0))[:5000], 422, "audio_undecodable"),
        (encoded(np.zeros(10, np.float32)), 422, "audio_empty"),
    ],
)
async def test_audio_that_cannot_be_read(
    client: httpx.AsyncClient, router: FakeRouter, audio: bytes, status: int, code: str
) -> None:
    answer = await post(client, audio)
    assert (answer.status_code, wrong(answer)["code"]) == (status, code)
    assert wrong(answer)["param"] == "file"
    assert router.calls == []


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"model": "whisper-1"}, 404, "model"),
        ({"model": ""}, 422, "model"),
        ({"response_format": "xml"}, 422, "response_format"),
        ({"temperature": "1"}, 422, "temperature"),
        ({"best_of": "5"}, 422, "best_of"),
    ],
)
async def test_what_is_not_supported_is_refused(
    client: httpx.AsyncClient,
    router: FakeRouter,
    wav: bytes,
    fields: dict[str, str],
    status: int,
    param: str,
) -> None:
    answer = await post(client, wav, **fields)
    assert (answer.status_code, wrong(answer)["param"]) == (status, param)
    assert router.calls == []


async def test_a_form_without_a_file(client: httpx.AsyncClient) -> None:
    answer = await post(client, b"", files={"language": (None, "en")})
    assert (answer.status_code, wrong(answer)["param"]) == (422, "file")


async def test_a_body_that_is_no_form(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/audio/transcriptions", json={"model": "auto"})
    assert (answer.status_code, wrong(answer)["code"]) == (415, "unsupported_media_type")


async def test_a_body_that_is_too_large(make: Make, router: FakeRouter, wav: bytes) -> None:
    answer = await post(client_of(make(max_upload_bytes=len(wav))), wav)
    assert (answer.status_code, wrong(answer)["code"]) == (413, "audio_too_large")
    assert router.calls == []


async def test_audio_that_is_too_long(client: httpx.AsyncClient, router: FakeRouter) -> None:
    """An hour is allowed; FLAC makes the more of it small."""
    answer = await post(client, encoded(np.zeros(3601 * RATE, np.float32), "FLAC"))
    assert (answer.status_code, wrong(answer)["code"]) == (413, "audio_too_long")
    assert router.calls == []


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever tries again, does it at once."""
    monkeypatch.setattr("serve_app.http.speech._FIRST_PAUSE_S", 0.001)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    "code",
    [ErrorCode.MODEL_UNAVAILABLE, ErrorCode.OVERLOADED, ErrorCode.MODEL_DIED, ErrorCode.AUDIO_IO],
)
async def test_what_is_not_the_clips_fault_is_tried_again(
    client: httpx.AsyncClient, router: FakeRouter, wav: bytes, code: ErrorCode
) -> None:
    router.errors = [code]
    answer = await post(client, wav)
    assert answer.status_code == 200
    assert [len(records) for records, _ in router.calls] == [1, 1]


@pytest.mark.usefixtures("hasty")
async def test_no_model_for_long_is_an_outage(
    client: httpx.AsyncClient, router: FakeRouter, wav: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve_app.http.speech._RETRY_S", 1.0)
    router.always = ErrorCode.MODEL_UNAVAILABLE
    answer = await post(client, wav)
    assert (answer.status_code, wrong(answer)["code"]) == (503, "model_unavailable")
    assert answer.headers["retry-after"] == str(RETRY_AFTER_S)
    assert 1 < len(router.calls) < 50, "ever longer pauses"


@pytest.mark.usefixtures("hasty")
async def test_a_clip_that_kills_a_model_twice_is_at_fault(
    client: httpx.AsyncClient, router: FakeRouter, wav: bytes
) -> None:
    router.errors = [ErrorCode.MODEL_DIED, ErrorCode.MODEL_UNAVAILABLE, ErrorCode.MODEL_DIED]
    answer = await post(client, wav)
    assert (answer.status_code, wrong(answer)["code"]) == (422, "model_died")
    assert "retry-after" not in answer.headers
    assert len(router.calls) == 3


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        (ErrorCode.MODEL_REJECTED, 422, "invalid_request_error"),
        (ErrorCode.AUDIO_TOO_LONG, 413, "invalid_request_error"),
        (ErrorCode.AUDIO_UNSUPPORTED, 415, "invalid_request_error"),
        (ErrorCode.ROUTER_FAULT, 500, "server_error"),
    ],
)
async def test_what_will_fail_again_is_not_tried_again(
    client: httpx.AsyncClient,
    router: FakeRouter,
    wav: bytes,
    code: ErrorCode,
    status: int,
    kind: str,
) -> None:
    router.errors = [code]
    answer = await post(client, wav)
    assert (answer.status_code, wrong(answer)["type"]) == (status, kind)
    assert wrong(answer)["code"] == code.value
    assert len(router.calls) == 1


async def test_one_bad_piece_spoils_the_whole(make: Make, router: FakeRouter) -> None:
    router.errors = [ErrorCode.MODEL_REJECTED]
    answer = await post(client_of(make(piece_seconds=2)), encoded(beeping()))
    assert answer.status_code == 422


async def test_a_stream_that_fails_says_so(make: Make, router: FakeRouter) -> None:
    router.errors = [ErrorCode.MODEL_REJECTED]
    answer = await post(client_of(make()), encoded(noise(1.0)), stream="true")
    [event] = events(answer.text)
    assert event["error"]["code"] == "model_rejected"


async def test_an_answer_that_takes_too_long(make: Make, router: FakeRouter, wav: bytes) -> None:
    router.gate.clear()
    client = client_of(make(timeout_s=1.0))
    answer = await post(client, wav)
    assert (answer.status_code, wrong(answer)["code"]) == (503, "timeout")
    [event] = events((await post(client, wav, stream="true")).text)
    assert event["error"]["code"] == "timeout"
    assert router.cancelled == len(router.calls)


async def test_a_fault_of_ours_tells_no_secrets(
    client: httpx.AsyncClient, router: FakeRouter, wav: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(clip: Clip) -> list[Word]:
        raise KeyError("what was said")

    router.hear = fail
    answer = await post(client, wav)
    assert (answer.status_code, wrong(answer)["code"]) == (500, "internal_error")
    assert answer.headers["x-request-id"] in wrong(answer)["message"]
    assert "what was said" not in answer.text + caplog.text
    assert "KeyError" in caplog.text
