"""OpenAI's own client for Python, unchanged, over a real server."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from schemas.failures import ErrorCode
from tests.serve_app.http.conftest import FakeRouter, encoded, noise, on_network
from tests.standin import text_of

LIMIT = 300_000
KEYS: dict[str, dict[str, Any]] = {
    "one": {},
    "poor": {"audio_seconds_per_minute": 1.0},
}


class Site(NamedTuple):
    """The API's address and the Router behind it."""

    url: str
    router: FakeRouter

    def client(self, key: str = "one") -> OpenAI:
        """It raises if a response is not of the type that it should be."""
        return OpenAI(
            base_url=self.url, api_key=key, max_retries=0, _strict_response_validation=True
        )

    def async_client(self) -> AsyncOpenAI:
        return AsyncOpenAI(base_url=self.url, api_key="one", max_retries=0)


@pytest.fixture(scope="module")
def network() -> Iterator[Site]:
    router = FakeRouter()
    digests = {
        name: {"sha256": hashlib.sha256(name.encode()).hexdigest(), **limits}
        for name, limits in KEYS.items()
    }
    limits = {"max_upload_bytes": LIMIT, "piece_seconds": 2}
    with on_network(router, keys=digests, **limits) as address:
        yield Site(f"{address}/v1", router)


@pytest.fixture
def site(network: Site) -> Site:
    """With a Router that has heard nothing yet."""
    network.router.calls.clear()
    network.router.clips.clear()
    network.router.errors.clear()
    return network


def heard(router: FakeRouter) -> str:
    return " ".join(map(text_of, router.clips))


def test_json(site: Site, wav: bytes) -> None:
    found = site.client().audio.transcriptions.create(file=("a.wav", wav), model="auto")
    assert found.text == heard(site.router)
    assert found.usage is not None
    assert found.usage.type == "duration"
    assert (found.usage.type, found.usage.seconds) == ("duration", 3)


def test_each_channel(site: Site) -> None:
    call = encoded(np.stack([noise(1.0), noise(1.0)[::-1]], axis=1))
    found = site.client().audio.transcriptions.create(
        file=("a.wav", call),
        model="auto",
        response_format="verbose_json",
        extra_body={"channel": "each"},
    )
    assert found.segments is not None
    assert {each.speaker for each in found.segments} == {"Speaker 1", "Speaker 2"}  # type: ignore[attr-defined]
    assert [each["channel"] for each in found.channels] == [0, 1]  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["tuple", "stream", "path"])
def test_ways_to_give_a_file(site: Site, wav: bytes, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "ä b.wav"
    path.write_bytes(wav)
    file: Any = {"tuple": ("a", wav, "audio/wav"), "stream": io.BytesIO(wav), "path": path}[kind]
    assert site.client().audio.transcriptions.create(file=file, model="auto").text
    assert len(site.router.clips) == 2


def test_verbose_json(site: Site, wav: bytes) -> None:
    found = site.client().audio.transcriptions.create(
        file=("a.wav", wav),
        model="vote",
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
        language="en",
        temperature=0,
    )
    assert (found.text, found.language, found.duration) == (heard(site.router), "en", 3.0)
    assert found.words is not None
    assert [each.word for each in found.words] == found.text.split()
    assert found.words[-1].end == 3.0
    assert found.segments is not None
    assert " ".join(each.text for each in found.segments) == found.text
    assert all(each.avg_logprob < 0 < each.compression_ratio for each in found.segments)
    assert found.model_extra is not None
    assert [each["selected_model"] for each in found.model_extra["pieces"]] == ["vote"] * 2


@pytest.mark.parametrize(
    ("response_format", "start"), [("text", ""), ("srt", "1\n00:00:00,000 --> "), ("vtt", "WEBVTT")]
)
def test_formats_of_text(site: Site, wav: bytes, response_format: Any, start: str) -> None:
    found: Any = site.client().audio.transcriptions.create(
        file=("a.wav", wav), model="auto", response_format=response_format
    )
    assert isinstance(found, str)
    assert found.startswith(start)
    assert set(heard(site.router).split()) <= set(found.split())


def test_log_probabilities(site: Site, wav: bytes) -> None:
    found = site.client().audio.transcriptions.create(
        file=("a.wav", wav), model="auto", include=["logprobs"]
    )
    assert found.logprobs is not None
    assert [each.token for each in found.logprobs] == found.text.split()
    assert bytes(int(each) for each in found.logprobs[0].bytes or []).decode() == (
        found.logprobs[0].token
    )


def test_a_stream(site: Site, wav: bytes) -> None:
    with site.client().audio.transcriptions.create(
        file=("a.wav", wav), model="auto", stream=True, include=["logprobs"]
    ) as stream:
        *deltas, done = list(stream)
    assert [each.type for each in deltas] == ["transcript.text.delta"] * 2
    assert done.type == "transcript.text.done"
    assert "".join(each.delta for each in deltas if each.type == "transcript.text.delta") == (
        done.text
    )
    assert done.text == heard(site.router)
    assert len(done.logprobs or []) == 6
    assert done.usage is not None
    assert (done.usage.type, done.usage.input_tokens, done.usage.output_tokens) == ("tokens", 30, 6)
    assert done.usage.total_tokens == 36


def test_a_stream_that_breaks(site: Site, wav: bytes) -> None:
    site.router.errors = [ErrorCode.MODEL_REJECTED]
    stream = site.client().audio.transcriptions.create(
        file=("a.wav", wav), model="auto", stream=True
    )
    with pytest.raises(openai.APIError, match="told to fail") as caught:
        list(stream)
    assert caught.value.code == "model_rejected"


def test_phrases(site: Site, wav: bytes) -> None:
    site.client().audio.transcriptions.create(
        file=("a.wav", wav), model="auto", prompt="Ada, Babbage", keywords=["engine"]
    )
    [(records, _)] = site.router.calls
    assert records[0].phrases == ["Ada", "Babbage", "engine"]


@pytest.mark.parametrize(
    ("error", "status", "options"),
    [
        (openai.NotFoundError, 404, {"model": "whisper-1"}),
        (openai.BadRequestError, 400, {"language": "english"}),
        (openai.BadRequestError, 400, {"temperature": 1.7}),
        (openai.BadRequestError, 400, {"known_speaker_names": ["Ada"]}),
        (openai.BadRequestError, 400, {"chunking_strategy": {"type": "server_vad"}}),
        (openai.BadRequestError, 400, {"response_format": "diarized_json"}),
        (openai.BadRequestError, 400, {"extra_body": {"best_of": 5}}),
        (openai.BadRequestError, 400, {"timestamp_granularities": ["word"]}),
    ],
    ids=str,
)
def test_what_cannot_be_done(
    site: Site, wav: bytes, error: type[openai.APIStatusError], status: int, options: dict[str, Any]
) -> None:
    with pytest.raises(error) as caught:
        site.client().audio.transcriptions.create(
            **{"file": ("a.wav", wav), "model": "auto", **options}
        )
    assert caught.value.status_code == status
    name = next(iter(options.get("extra_body", options)))
    assert (caught.value.param or "").startswith(name)
    assert caught.value.type in ("invalid_request_error", "not_found_error")
    assert caught.value.request_id
    assert site.router.calls == []


@pytest.mark.parametrize(
    ("code", "error", "status"),
    [
        (ErrorCode.MODEL_REJECTED, openai.BadRequestError, 400),
        (ErrorCode.AUDIO_UNSUPPORTED, openai.APIStatusError, 415),
        (ErrorCode.ROUTER_FAULT, openai.InternalServerError, 500),
    ],
)
def test_what_a_model_refuses(
    site: Site, wav: bytes, code: ErrorCode, error: type[openai.APIStatusError], status: int
) -> None:
    site.router.errors = [code]
    with pytest.raises(error) as caught:
        site.client().audio.transcriptions.create(file=("a.wav", wav), model="auto")
    assert (caught.value.status_code, caught.value.code) == (status, code.value)


def test_no_model(site: Site, wav: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve_app.http.retries.RETRY_S", 0.0)
    site.router.errors = [ErrorCode.MODEL_UNAVAILABLE]
    with pytest.raises(openai.InternalServerError) as caught:
        site.client().audio.transcriptions.create(file=("a.wav", wav), model="auto")
    assert (caught.value.status_code, caught.value.code) == (503, "model_unavailable")
    assert int(caught.value.response.headers["retry-after"]) > 0


def test_audio_that_is_none(site: Site) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        site.client().audio.transcriptions.create(file=("a.wav", b"no audio"), model="auto")
    assert (caught.value.param, caught.value.code) == ("file", "audio_undecodable")


def test_a_file_that_is_too_large(site: Site) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        site.client().audio.transcriptions.create(file=("a.wav", bytes(50 * LIMIT)), model="auto")
    assert (caught.value.status_code, caught.value.code) == (413, "audio_too_large")


def test_a_key_that_is_not_known(site: Site, wav: bytes) -> None:
    client = site.client("nobody")
    with pytest.raises(openai.AuthenticationError) as caught:
        client.audio.transcriptions.create(file=("a.wav", wav), model="auto")
    assert caught.value.code == "invalid_api_key"
    with pytest.raises(openai.AuthenticationError):
        client.models.list()


def test_too_much_audio_a_minute(site: Site, wav: bytes) -> None:
    client = site.client("poor")
    assert client.audio.transcriptions.create(file=("a.wav", wav), model="auto").text
    with pytest.raises(openai.RateLimitError) as caught:
        client.audio.transcriptions.create(file=("a.wav", wav), model="auto")
    assert caught.value.code == "audio_rate_limit"
    assert int(caught.value.response.headers["retry-after"]) > 0


def test_models(site: Site) -> None:
    client = site.client()
    listed = list(client.models.list())
    assert [each.id for each in listed] == ["auto", "vote", "general", "medical"]
    assert client.models.retrieve("medical") == listed[-1]
    assert (listed[0].object, listed[0].owned_by) == ("model", "chorus")
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("whisper-1")
    assert caught.value.code == "model_not_found"


def test_what_we_do_not_have(site: Site, wav: bytes) -> None:
    with pytest.deprecated_call(), pytest.raises(openai.NotFoundError):
        site.client().audio.translations.create(file=("a.wav", wav), model="auto")


async def test_the_asynchronous_client(site: Site) -> None:
    clips = [noise(seconds) for seconds in (1.0, 1.5, 1.8)]
    async with site.async_client() as client:
        found = await asyncio.gather(
            *(
                client.audio.transcriptions.create(file=("a.wav", encoded(clip)), model="auto")
                for clip in clips
            )
        )
        by_length = {len(clip): text_of(clip) for clip in site.router.clips}
        assert [each.text for each in found] == [by_length[len(clip)] for clip in clips]
        assert await anext(each.id async for each in client.models.list()) == "auto"
        with pytest.raises(openai.NotFoundError):
            await client.audio.transcriptions.create(file=b"", model="whisper-1")


async def test_the_asynchronous_client_streams(site: Site, wav: bytes) -> None:
    async with site.async_client() as client:
        stream = await client.audio.transcriptions.create(
            file=("a.wav", wav), model="auto", stream=True
        )
        events = [event async for event in stream]
    assert [each.type for each in events] == [
        "transcript.text.delta",
        "transcript.text.delta",
        "transcript.text.done",
    ]
