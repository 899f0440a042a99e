"""`POST /v1/audio/transcriptions`: every format, and long audio."""

from __future__ import annotations

import asyncio
import itertools
import json
import math

import httpx
import numpy as np
import pytest
from msgspec.structs import replace

from schemas.failures import ErrorCode
from schemas.manifest import ManifestRecord
from schemas.requests import CallOptions
from schemas.transcript import Suppressed, Transcript, Word
from serve_app.audio.clip import Clip
from tests.serve_app.http.answers import events
from tests.serve_app.http.beeps import BEEPS, beeping, hear_beeps
from tests.serve_app.http.conftest import (
    RATE,
    FakeRouter,
    Make,
    client_of,
    encoded,
    noise,
    post,
    unnamed_files,
    until,
)
from tests.standin import text_of

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_json(client: httpx.AsyncClient, router: FakeRouter, wav: bytes) -> None:
    answer = await post(client, wav)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    [clip] = router.clips
    assert len(clip) == 3 * RATE
    assert answer.json() == {
        "text": text_of(clip),
        "usage": {"type": "duration", "seconds": 3},
        "models": [{"name": "general", "version": "12", "sha256": "abc"}],
    }


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
            "1\n00:00:00,500 --> 00:00:01,500\né\n\n2\n00:00:02,100 --> 00:00:03,000\nb\n",
        ),
        (
            "vtt",
            "text/vtt; charset=utf-8",
            "WEBVTT\n\n00:00:00.500 --> 00:00:01.500\né\n\n00:00:02.100 --> 00:00:03.000\nb\n",
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


async def test_stereo_of_opposite_phase(client: httpx.AsyncClient, router: FakeRouter) -> None:
    sound = noise(2.0)
    heard: list[float] = []

    def hear(clip: Clip) -> list[Word]:
        heard.append(float(np.std(clip)))
        return []

    router.hear = hear
    stereo = encoded(np.stack([sound, -sound], axis=1))
    answer = await post(client, stereo, response_format="verbose_json")
    [piece] = answer.json()["pieces"]
    assert piece["audio_measures"]["channel"] == 0
    assert heard == [pytest.approx(float(np.std(sound)), rel=0.01)]


async def test_what_nobody_said_is_told_with_times_of_the_file(
    make: Make, router: FakeRouter
) -> None:
    """The Router leaves it out; here every piece has some of it."""
    make_transcript = router._transcript

    def with_suppressed(record: ManifestRecord, options: CallOptions, clip: Clip) -> Transcript:
        gone = [Suppressed(text="uh", start=0.25, end=0.5)]
        return replace(make_transcript(record, options, clip), suppressed=gone)

    router._transcript = with_suppressed  # type: ignore[method-assign]
    client, wav = client_of(make(piece_seconds=2)), encoded(beeping())
    for response_format in ("json", "verbose_json"):
        found = (await post(client, wav, response_format=response_format)).json()
        starts = [each["start"] for each in found["suppressed"]]
        assert len(starts) > 1
        assert starts == sorted(starts)
        assert {each["text"] for each in found["suppressed"]} == {"uh"}
    *_, done = events((await post(client, wav, stream="true")).text)
    assert [each["start"] for each in done["suppressed"]] == starts


@pytest.mark.parametrize("limit", [0.9, None])
async def test_the_setting_for_text_where_nobody_speaks(
    make: Make, router: FakeRouter, wav: bytes, limit: float | None
) -> None:
    await post(client_of(make(max_no_speech_prob=limit)), wav)
    await post(client_of(make()), wav)
    asked = [options.max_no_speech_prob for _, options in router.calls]
    assert asked == [limit, 0.9]


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
        "models": [{"name": "general", "version": "12", "sha256": "abc"}],
        "words": [
            {"word": "a", "start": 0.5, "end": 1.25, "confidence": 0.5},
            {"word": "b", "start": 2.1, "end": 2.75},
        ],
    }
    assert (first["id"], first["seek"], first["start"], first["end"]) == (0, 50, 0.5, 1.25)
    assert (first["text"], first["avg_logprob"]) == ("a", round(math.log(0.5), 4))
    assert (second["id"], second["text"], second["avg_logprob"]) == (1, "b", 0.0)
    assert 0.5 < first["no_speech_prob"] <= 1, "noise is no speech"
    assert (piece["start"], piece["end"]) == (0.0, 3.0)
    assert (piece["rule"], piece["selected_model"], piece["model_sha256"]) == (
        "default",
        "general",
        "abc",
    )
    assert piece["model_version"] == "12"
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
    assert done["usage"] == {
        "type": "tokens",
        "input_tokens": 215,
        "output_tokens": len(BEEPS),
        "total_tokens": 215 + len(BEEPS),
        "input_token_details": {"audio_tokens": 215, "text_tokens": 0},
    }
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
    assert [each.status_code for each in answers] == [400, 200, 200, 400, 404]
    assert unnamed_files() <= before


@pytest.mark.parametrize("kind", ["FLAC", "OGG", "MP3"])
async def test_formats_of_audio(client: httpx.AsyncClient, router: FakeRouter, kind: str) -> None:
    answer = await post(client, encoded(noise(2.0), kind))
    assert answer.status_code == 200
    [clip] = router.clips
    assert len(clip) == pytest.approx(2 * RATE, rel=0.05)


@pytest.mark.parametrize("response_format", ["json", "verbose_json", "text", "srt", "vtt"])
async def test_every_format_names_what_made_the_text(
    make: Make, router: FakeRouter, wav: bytes, response_format: str
) -> None:
    client = client_of(make(piece_seconds=2))
    answer = await post(client, wav, response_format=response_format, model="medical")
    assert answer.headers["x-chorus-model"] == "medical;version=12;sha256=abc"
    versions = itertools.chain(["12"] * 3, itertools.repeat("13"))  # it changes meanwhile
    router.version = lambda: next(versions)
    answer = await post(client, encoded(noise(30.0)), response_format=response_format)
    assert answer.headers["x-chorus-model"] == (
        "general;version=12;sha256=abc, general;version=13;sha256=abc"
    )
    if "json" in response_format:
        made = [(each["name"], each["version"]) for each in answer.json()["models"]]
        assert made == [("general", "12"), ("general", "13")]


async def test_a_canary_says_so(client: httpx.AsyncClient, router: FakeRouter, wav: bytes) -> None:
    router.arm = "candidate"
    answer = await post(client, wav)
    assert answer.headers["x-chorus-model"] == "general;version=12;sha256=abc;arm=candidate"
    assert [each["arm"] for each in answer.json()["models"]] == ["candidate"]


async def test_the_pieces_of_an_upload_are_of_one_recording(
    make: Make, router: FakeRouter, wav: bytes
) -> None:
    client = client_of(make(piece_seconds=2))
    for _ in range(2):
        await post(client, encoded(noise(10.0)))
    found = [record.audio_filepath for records, _ in router.calls for record in records]
    assert len(found) > 4
    assert len(set(found)) == 2  # a canary draws them together


async def test_a_stream_names_what_made_the_text_at_its_end(
    client: httpx.AsyncClient, wav: bytes
) -> None:
    *_, done = events((await post(client, wav, stream="true")).text)
    assert done["models"] == [{"name": "general", "version": "12", "sha256": "abc"}]


@pytest.mark.parametrize("sha256", ["", "a\r\nx-evil: 1", "é", "a" * 5000])
async def test_a_model_without_a_version_or_a_proper_digest(
    client: httpx.AsyncClient, router: FakeRouter, wav: bytes, sha256: str
) -> None:
    router.version, router.sha256 = (lambda: None), sha256
    answer = await post(client, wav)
    assert answer.headers["x-chorus-model"] == "general"
    said = {"sha256": sha256} if sha256 else {}
    assert answer.json()["models"] == [{"name": "general", **said}]
