"""`POST /v1/audio/transcriptions`: what a request may ask for, and how subtitles are shaped."""

from __future__ import annotations

import httpx
import pytest

from schemas.transcript import Word
from serve_app.audio.sandbox import MediaDecoder
from serve_app.http.api import make_api
from tests.serve_app.http.answers import events
from tests.serve_app.http.conftest import (
    TRANSCRIPTIONS,
    FakeRouter,
    Make,
    client_of,
    encoded,
    noise,
    post,
    settings_of,
)

pytestmark = pytest.mark.asyncio(loop_scope="package")


@pytest.mark.parametrize(
    ("model", "target"), [("auto", None), ("medical", "medical"), ("vote", "vote")]
)
async def test_the_router_is_told_what_is_asked_for(
    client: httpx.AsyncClient, router: FakeRouter, wav: bytes, model: str, target: str | None
) -> None:
    await post(client, wav, model=model, language="de", prompt="Ada, Babbage")
    [([record], options)] = router.calls
    assert (options.target, options.words, options.interactive) == (target, True, True)
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
    ("response_format", "has_place"),
    [("json", True), ("verbose_json", True), ("text", False), ("srt", False), ("vtt", False)],
)
async def test_the_answer_names_what_had_no_effect(
    client: httpx.AsyncClient, wav: bytes, response_format: str, has_place: bool
) -> None:
    asked = {"response_format": response_format, "temperature": "0.5", "prompt": "He spoke long."}
    answer = await post(client, wav, **asked)
    assert answer.headers["x-chorus-without-effect"] == "prompt, temperature"
    if has_place:
        assert answer.json()["without_effect"]["temperature"] == "decoding is greedy"
    plain = await post(client, wav, response_format=response_format)
    assert "x-chorus-without-effect" not in plain.headers
    assert "without_effect" not in plain.text


async def test_a_stream_names_what_had_no_effect(client: httpx.AsyncClient, wav: bytes) -> None:
    answer = await post(client, wav, stream="true", seed="1")
    assert answer.headers["x-chorus-without-effect"] == "seed"
    assert events(answer.text)[-1]["without_effect"] == {"seed": "decoding is greedy"}


ALIASES = {"whisper-1": "auto", "Systran/faster-whisper-large-v3": "vote", "nova": "medical"}


@pytest.mark.parametrize(
    ("name", "target"),
    [("whisper-1", None), ("Systran/faster-whisper-large-v3", "vote"), ("nova", "medical")],
)
async def test_a_name_of_another_service_may_stand_for_one_of_ours(
    make: Make, router: FakeRouter, wav: bytes, name: str, target: str | None
) -> None:
    client = client_of(make(models=ALIASES))
    assert (await post(client, wav, model=name)).status_code == 200
    assert router.calls[-1][1].target == target
    for path in (name, name.replace("/", "%2F")):
        found = (await client.get(f"/v1/models/{path}")).json()
        assert (found["id"], found["kind"]) == (name, "alias")
        assert found["models"] == {
            None: ["general", "medical"],
            "vote": ["general", "medical"],
        }.get(target, [target])
    assert (await post(client, wav, model=name.upper())).status_code == 404


async def test_a_model_need_not_be_named(client: httpx.AsyncClient, router: FakeRouter) -> None:
    answer = await client.post(TRANSCRIPTIONS, files={"file": ("a.wav", encoded(noise(1.0)))})
    assert answer.status_code == 200
    assert router.calls[-1][1].target is None


async def test_words_and_subtitles_follow_the_text_rules(
    client: httpx.AsyncClient, router: FakeRouter, wav: bytes
) -> None:
    router.hear = lambda clip: [Word("five", 0, 1, 0.5), Word("milligrams", 1, 2.5, 0.9)]
    router.write = lambda text: text.replace("five milligrams", "5 mg")
    answers = {
        kind: await post(client, wav, response_format=kind) for kind in ("srt", "vtt", "text")
    }
    assert answers["text"].text == "5 mg\n"
    assert answers["srt"].text == "1\n00:00:00,000 --> 00:00:02,500\n5 mg\n"
    assert answers["vtt"].text == "WEBVTT\n\n00:00:00.000 --> 00:00:02.500\n5 mg\n"
    asked = {"timestamp_granularities[]": ["word", "segment"]}
    found = (await post(client, wav, response_format="verbose_json", **asked)).json()
    assert [each["word"] for each in found["words"]] == found["text"].split() == ["5", "mg"]
    assert [each["text"] for each in found["segments"]] == ["5 mg"]
    sure = (await post(client, wav, **{"include[]": "logprobs"})).json()["logprobs"]
    assert [each["token"] for each in sure] == ["5", "mg"]


async def test_subtitles_have_the_shape_that_is_asked_for(
    client: httpx.AsyncClient, router: FakeRouter, wav: bytes
) -> None:
    texts = ["alpha", "bravo", "charlie", "delta"]
    router.hear = lambda clip: [Word(w, 0.7 * n, 0.7 * n + 0.6) for n, w in enumerate(texts)]
    asked = {"max_line_width": "12", "max_line_count": "1", "min_cue_seconds": "0"}
    answer = await post(client, wav, response_format="srt", **asked)
    assert answer.text == (
        "1\n00:00:00,000 --> 00:00:01,300\nalpha bravo\n\n"
        "2\n00:00:01,400 --> 00:00:02,000\ncharlie\n\n"
        "3\n00:00:02,100 --> 00:00:02,700\ndelta\n"
    )
    verbose = await post(client, wav, response_format="verbose_json", max_line_width="13")
    assert len(verbose.json()["segments"]) == 1, "two lines"
    plain = await post(client, wav, max_line_width="12")
    assert plain.json()["without_effect"].keys() == {"max_line_width"}


async def test_a_subtitle_may_hold_words_of_two_pieces(make: Make, router: FakeRouter) -> None:
    client = client_of(make(piece_seconds=2))
    answer = await post(client, encoded(noise(5.0)), response_format="verbose_json")
    found = answer.json()
    assert len(found["pieces"]) == 3
    assert len(found["segments"]) == 1, "nine words without a pause"
    assert found["segments"][0]["text"] == found["text"]
