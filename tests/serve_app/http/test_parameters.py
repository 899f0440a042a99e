"""What a form asks for; what cannot be done is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.manifest import MAX_PHRASES
from schemas.transcription_api import TranscriptionRequest
from serve_app.http.errors import ApiError
from serve_app.http.parameters import MAX_PHRASE_CHARS, read_parameters
from tests.serve_app.http.conftest import UNHURRIED

TARGETS = ["auto", "vote", "general"]


def read(**fields: list[str] | str) -> TranscriptionRequest:
    """Of the model "auto"; a trailing "__" of a name stands for "[]"."""
    given = {"model": "auto", **fields}
    lists = {name: [each] if isinstance(each, str) else each for name, each in given.items()}
    return read_parameters(
        {name.replace("__", "[]"): each for name, each in lists.items()}, TARGETS
    )


def refused(**fields: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        read(**fields)
    return caught.value


def test_only_a_model_is_needed() -> None:
    assert read() == TranscriptionRequest(model="auto")


@pytest.mark.parametrize("name", TARGETS)
def test_a_model_may_be_any_target(name: str) -> None:
    assert read(model=name).model == name


@pytest.mark.parametrize("name", ["whisper-1", "Auto", "auto ", "../auto"])
def test_an_unknown_model_is_not_found_and_the_others_are_named(name: str) -> None:
    error = refused(model=name)
    assert (error.status, error.param, error.code) == (404, "model", "model_not_found")
    assert "auto, vote, general" in error.message


@pytest.mark.parametrize("suffix", ["", "__"])
def test_lists_may_be_named_either_way(suffix: str) -> None:
    asked = read(
        response_format="verbose_json", **{f"timestamp_granularities{suffix}": ["word", "segment"]}
    )
    assert asked.granularities == {"word", "segment"}
    assert read(**{f"include{suffix}": "logprobs"}).logprobs
    assert read(**{f"keywords{suffix}": ["a", "b"]}).phrases == ("a", "b")


def test_both_spellings_of_a_list_are_one_list() -> None:
    assert read(keywords="a", keywords__="b").phrases == ("a", "b")


@pytest.mark.parametrize("language", ["en", "en-US", "deu", "zh-Hant-TW", "EN"])
def test_languages(language: str) -> None:
    assert read(language=language).language == language


def test_an_empty_language_is_none() -> None:
    assert read(language="").language is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [("true", True), ("True", True), ("1", True), ("false", False), ("0", False)],
)
def test_flags(value: str, expected: bool) -> None:
    assert read(stream=value).stream is expected


@pytest.mark.parametrize("value", ["0", "0.0", "-0", "0e5"])
def test_a_temperature_of_nought_is_what_we_have(value: str) -> None:
    assert read(temperature=value, chunking_strategy="auto") == TranscriptionRequest(model="auto")


def test_phrases_of_a_prompt_are_parted_by_commas_and_lines() -> None:
    asked = read(prompt="Ada Lovelace, Babbage;engine\n Ada Lovelace,, ", keywords__=["x, y", " "])
    assert asked.phrases == ("Ada Lovelace", "Babbage", "engine", "x, y")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ""}, "model"),
        ({"model": ["auto", "auto"]}, "model"),
        ({"language": "english"}, "language"),
        ({"language": "e"}, "language"),
        ({"language": "en_US"}, "language"),
        ({"language": "en\n"}, "language"),
        ({"response_format": "diarized_json"}, "response_format"),
        ({"response_format": ""}, "response_format"),
        ({"response_format": ["json", "text"]}, "response_format"),
        ({"timestamp_granularities__": "word"}, "timestamp_granularities"),
        (
            {"timestamp_granularities__": "letter", "response_format": "verbose_json"},
            "timestamp_granularities",
        ),
        ({"include__": "tokens"}, "include"),
        ({"include__": "logprobs", "response_format": "verbose_json"}, "include"),
        ({"stream": "yes"}, "stream"),
        ({"stream": "true", "response_format": "text"}, "stream"),
        ({"stream": "true", "response_format": "verbose_json"}, "stream"),
        ({"temperature": "0.2"}, "temperature"),
        ({"temperature": "nan"}, "temperature"),
        ({"temperature": "warm"}, "temperature"),
        ({"chunking_strategy": "server_vad"}, "chunking_strategy"),
        ({"chunking_strategy[type]": "server_vad"}, "chunking_strategy[type]"),
        ({"known_speaker_names__": "Ada"}, "known_speaker_names"),
        ({"languages__": "en"}, "languages"),
        ({"Stream": "true"}, "Stream"),
        ({"": "x"}, ""),
        ({"prompt": "x" * (MAX_PHRASE_CHARS + 1)}, "prompt"),
        ({"prompt": ",".join(map(str, range(MAX_PHRASES + 1)))}, "prompt"),
        ({"keywords__": "x" * (MAX_PHRASE_CHARS + 1)}, "keywords"),
        ({"keywords__": "x" * (MAX_PHRASE_CHARS + 1), "prompt": "short"}, "keywords"),
        ({"keywords__": [*map(str, range(MAX_PHRASES + 1))], "prompt": "short"}, "keywords"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    error = refused(**fields)
    assert (error.status, error.param, error.code) == (422, param, "invalid_request")
    assert error.message


def test_as_many_phrases_as_a_record_may_have() -> None:
    phrases = tuple(f"{n:03}".ljust(MAX_PHRASE_CHARS, "x") for n in range(MAX_PHRASES))
    assert read(prompt=",".join(phrases)).phrases == phrases


NAMES = st.sampled_from(
    ["language", "prompt", "keywords[]", "response_format", "include[]", "stream", "temperature"]
)


@UNHURRIED
@given(st.dictionaries(NAMES | st.text(), st.lists(st.text(), min_size=1, max_size=3)))
def test_anything_is_a_request_or_a_refusal(fields: dict[str, list[str]]) -> None:
    try:
        asked = read_parameters({"model": ["auto"], **fields}, TARGETS)
    except ApiError as error:
        assert error.status in (404, 422)  # noqa: PT017  both ways are right
    else:
        assert all(0 < len(each) <= MAX_PHRASE_CHARS for each in asked.phrases)
        assert len(asked.phrases) <= MAX_PHRASES
