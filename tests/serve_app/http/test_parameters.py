"""What a form asks for; what cannot be done is refused, what changes nothing is accepted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.manifest import MAX_PHRASE_CHARS, MAX_PHRASES
from schemas.transcription_request import TranscriptionRequest
from serve_app.http.errors import ApiError
from serve_app.http.parameters import PARAMETERS, read_parameters
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


def test_nothing_is_needed() -> None:
    assert read_parameters({}, TARGETS) == TranscriptionRequest(model="auto")


def test_an_empty_value_is_none() -> None:
    names = [name for name in PARAMETERS if name != "hotwords"]
    empty = {name: [""] for name in ("model", *names)}
    assert read_parameters(empty, TARGETS) == TranscriptionRequest(model="auto")


@pytest.mark.parametrize("name", TARGETS)
def test_a_model_may_be_any_target(name: str) -> None:
    assert read(model=name).model == name


@pytest.mark.parametrize("name", ["whisper-1", "Auto", "auto ", "../auto"])
def test_an_unknown_model_is_not_found_and_the_others_are_named(name: str) -> None:
    error = refused(model=name)
    assert (error.status, error.param, error.code) == (404, "model", "model_not_found")
    assert "auto, vote, general" in error.message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("medical:1", "`medical:1` is not served: the settings of `medical` name `medical:2`; ask"),
        ("medical@production", "the settings of `medical` name `medical:2`; ask for that"),
        ("general:1", "no version can be asked for here, since the settings of `general` name no"),
        ("general@production", "no alias can be asked for here"),
        ("nobody:1", "this model does not exist; available are: general, medical, medical:2"),
    ],
)
def test_a_version_that_is_not_served_is_told(name: str, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        read_parameters({"model": [name]}, ["general", "medical", "medical:2"])
    assert (caught.value.status, caught.value.code) == (404, "model_not_found")
    assert message in caught.value.message


@pytest.mark.parametrize("suffix", ["", "__"])
def test_lists_may_be_named_either_way(suffix: str) -> None:
    asked = read(
        response_format="verbose_json", **{f"timestamp_granularities{suffix}": ["word", "segment"]}
    )
    assert asked.granularities == {"word", "segment"}
    assert read(**{f"include{suffix}": "logprobs"}).logprobs
    assert read(**{f"keywords{suffix}": ["a", "b"]}).phrases == ("a", "b")


def test_an_object_of_a_client_is_told_what_there_is_instead() -> None:
    error = refused(**{"chunking_strategy[type]": "server_vad"})
    assert error.message == refused(chunking_strategy="server_vad").message
    assert "must be `auto`" in error.message


def test_lists_may_have_indices() -> None:
    fields = {"keywords[0]": ["a"], "keywords[1]": ["b"]}
    assert read_parameters(fields, TARGETS).phrases == ("a", "b")


def test_both_spellings_of_a_list_are_one_list() -> None:
    assert read(keywords="a", keywords__="b").phrases == ("a", "b")


@pytest.mark.parametrize("language", ["en", "en-US", "deu", "zh-Hant-TW", "EN"])
def test_languages(language: str) -> None:
    assert read(language=language).language == language


def test_an_empty_value_is_none_of_whatever_it_is() -> None:
    assert read(whatever="") == read()


@pytest.mark.parametrize("language", ["", "auto"])
def test_a_language_that_the_client_does_not_know(language: str) -> None:
    assert read(language=language) == TranscriptionRequest(model="auto")


@pytest.mark.parametrize(
    ("value", "expected"),
    [("true", True), ("True", True), ("1", True), ("false", False), ("0", False)],
)
def test_flags(value: str, expected: bool) -> None:
    assert read(stream=value).stream is expected


@pytest.mark.parametrize("value", ["0", "0.0", "-0", "0e5"])
def test_a_temperature_of_zero_is_accepted(value: str) -> None:
    assert read(temperature=value, chunking_strategy="auto") == TranscriptionRequest(model="auto")


def test_phrases_of_a_prompt_are_separated_by_commas_and_lines() -> None:
    asked = read(prompt="Ada Lovelace, Babbage;engine\n Ada Lovelace,, ", keywords__=["x, y", " "])
    assert asked.phrases == ("Ada Lovelace", "Babbage", "engine", "x, y")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ["auto", "auto"]}, "model"),
        ({"language": "english"}, "language"),
        ({"language": "e"}, "language"),
        ({"language": "en_US"}, "language"),
        ({"language": "en\n"}, "language"),
        ({"response_format": "diarized_json"}, "response_format"),
        ({"response_format": ["json", "text"]}, "response_format"),
        ({"timestamp_granularities__": "word"}, "timestamp_granularities"),
        (
            {"timestamp_granularities__": "letter", "response_format": "verbose_json"},
            "timestamp_granularities",
        ),
        ({"include__": "tokens"}, "include"),
        ({"include__": "logprobs", "response_format": "verbose_json"}, "include"),
        ({"stream": "yes"}, "stream"),
        ({"max_line_width": "9"}, "max_line_width"),
        ({"max_line_width": "20.5"}, "max_line_width"),
        ({"max_line_count": "0"}, "max_line_count"),
        ({"min_cue_seconds": "nan"}, "min_cue_seconds"),
        ({"stream": "true", "response_format": "text"}, "stream"),
        ({"stream": "true", "response_format": "verbose_json"}, "stream"),
        ({"temperature": "1.1"}, "temperature"),
        ({"temperature": "-0.1"}, "temperature"),
        ({"temperature": ["0", "0"]}, "temperature"),
        ({"top_p": "2"}, "top_p"),
        ({"seed": "1.5"}, "seed"),
        ({"seed": "9" * 400}, "seed"),
        ({"beam_size": "5"}, "beam_size"),
        ({"repetition_penalty": "1.2"}, "repetition_penalty"),
        ({"task": "translate"}, "task"),
        ({"translate": "true"}, "translate"),
        ({"use_beam_search": "true"}, "use_beam_search"),
        ({"vad_filter": "perhaps"}, "vad_filter"),
        ({"temperature": "nan"}, "temperature"),
        ({"temperature": "warm"}, "temperature"),
        ({"chunking_strategy": "server_vad"}, "chunking_strategy"),
        ({"chunking_strategy[type]": "server_vad"}, "chunking_strategy"),
        ({"chunking_strategy[threshold]": "0.5"}, "chunking_strategy"),
        ({"temperature[0][a]": "1"}, "temperature"),
        ({"whatever[type]": "1"}, "whatever[type]"),
        ({"known_speaker_names__": "Ada"}, "known_speaker_names"),
        ({"languages__": "en"}, "languages"),
        ({"Stream": "true"}, "Stream"),
        ({"": "x"}, ""),
        ({"prompt": "a\x1b[2Jb"}, "prompt"),
        ({"hotwords": "a\0b"}, "hotwords"),
        ({"keywords__": "x" * (MAX_PHRASE_CHARS + 1)}, "keywords"),
        ({"keywords__": "x" * (MAX_PHRASE_CHARS + 1), "prompt": "short"}, "keywords"),
        ({"keywords__": [*map(str, range(MAX_PHRASES + 1))], "prompt": "short"}, "keywords"),
        ({"keywords__": "a\nb"}, "keywords"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    error = refused(**fields)
    assert (error.status, error.param, error.code) == (400, param, "invalid_request")
    assert error.message


def test_as_many_phrases_as_a_record_may_have() -> None:
    phrases = tuple(f"{n:03}".ljust(MAX_PHRASE_CHARS, "x") for n in range(MAX_PHRASES))
    assert read(prompt=",".join(phrases)).phrases == phrases


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", "0.7"),
        ("temperature", "1"),
        ("seed", "-7"),
        ("top_p", "0.9"),
        ("top_k", "50"),
        ("vad_filter", "True"),
        ("temperature_inc", "0.2"),
        ("without_timestamps", "false"),
        ("no_timestamps", "true"),
        ("stream_include_usage", "false"),
        ("stream_continuous_usage_stats", "true"),
        ("user", "somebody"),
        ("timestamp_granularities", "segment"),
    ],
)
def test_what_has_no_effect_is_accepted_and_named(field: str, value: str) -> None:
    asked = read(**{field: value})
    assert asked.without_effect.keys() == {field}
    assert asked == TranscriptionRequest(model="auto", without_effect=asked.without_effect)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("task", "transcribe"),
        ("translate", "false"),
        ("n", "1"),
        ("beam_size", "1.0"),
        ("stream_include_usage", "True"),
        ("stream_continuous_usage_stats", "false"),
    ],
)
def test_what_asks_for_what_is_done_anyway_is_accepted(field: str, value: str) -> None:
    assert read(**{field: value}) == TranscriptionRequest(model="auto")


def test_subtitles_are_segments() -> None:
    for response_format in ("srt", "vtt", "verbose_json"):
        asked = read(response_format=response_format, timestamp_granularities__="segment")
        assert asked.without_effect == {}


#: What users of other services send as a prompt.
FREE_TEXTS = [
    "The following is a lecture about the history of computing, given by Ada Lovelace.",
    "And so my fellow Americans, ask not what your country can do for you; ask what you can do.",
    "Hello, welcome to my lecture.",
    "Umm, let me think like, hmm... Okay, here's what I'm, like, thinking.",
    "Transcribe this audio file accurately with punctuation and do not translate it",
    "x" * 500,
    "word " * 300,
    "Vorher kam Text. Danach sprach Frau Müller über das Gerät.",
    "以下是普通话的句子。",
    "- a list\n- of several items that are somewhat longer than names are\n",
    ",".join(map(str, range(MAX_PHRASES + 1))),
]


@pytest.mark.parametrize("name", ["prompt", "hotwords"])
@pytest.mark.parametrize("text", FREE_TEXTS)
def test_a_prompt_may_be_any_text(name: str, text: str) -> None:
    asked = read(**{name: text})
    assert len(asked.phrases) <= MAX_PHRASES
    assert all(each in text and len(each) <= MAX_PHRASE_CHARS for each in asked.phrases)
    assert asked.without_effect.keys() == {name}


def test_names_are_listened_for_and_the_rest_of_the_text_is_left() -> None:
    text = "The meeting is about Kubernetes, gRPC and the K8s cluster of Ada Lovelace. We use H2O."
    asked = read(prompt=text)
    assert asked.phrases == ("Kubernetes", "gRPC", "K8s", "Ada Lovelace", "H2O")
    assert "names" in asked.without_effect["prompt"]
    assert read(prompt="Ada Lovelace wrote the first program of all.").phrases == ("Ada Lovelace",)
    assert read(prompt="Dr. Smith, Mr. Jones").phrases == ("Dr. Smith", "Mr. Jones")


def test_a_list_and_a_text_in_one_prompt() -> None:
    asked = read(prompt="Ada Lovelace, Babbage\nThey all speak of the engine that was never built.")
    assert asked.phrases == ("Ada Lovelace", "Babbage")
    assert asked.without_effect.keys() == {"prompt"}


def test_keywords_go_before_the_phrases_that_are_too_many() -> None:
    asked = read(prompt=",".join(map(str, range(200))), keywords__=["one", "two"])
    assert asked.phrases == (*map(str, range(MAX_PHRASES - 2)), "one", "two")
    assert asked.without_effect.keys() == {"prompt"}


NAMES = st.sampled_from(
    ["language", "prompt", "keywords[]", "response_format", "include[]", "stream", "temperature"]
)


@UNHURRIED
@given(st.dictionaries(NAMES | st.text(), st.lists(st.text(), min_size=1, max_size=3)))
def test_anything_is_a_request_or_a_refusal(fields: dict[str, list[str]]) -> None:
    try:
        asked = read_parameters({"model": ["auto"], **fields}, TARGETS)
    except ApiError as error:
        assert error.status in (400, 404)  # noqa: PT017  both ways are right
    else:
        assert all(0 < len(each) <= MAX_PHRASE_CHARS for each in asked.phrases)
        assert len(asked.phrases) <= MAX_PHRASES
