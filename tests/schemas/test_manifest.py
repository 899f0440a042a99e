"""The manifest record: what is let in, what is refused, and what passes through."""

from __future__ import annotations

import contextlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.failures import ErrorCode
from schemas.manifest import (
    MAX_EXTRA_DEPTH,
    ManifestError,
    ManifestRecord,
    decode_manifest,
    encode_manifest,
)
from schemas.records_call import encoded_call
from schemas.requests import CallOptions


def decode(**keys: object) -> ManifestRecord:
    return decode_manifest(json.dumps(keys).encode(), default_id="topic-0-7")


def test_keys_of_a_nemo_manifest() -> None:
    record = decode(
        id="a",
        audio_filepath="x.wav",
        offset=1.5,
        duration=2,
        text="hello",
        lang="en",
        domain="law",
    )
    assert (record.id, record.offset, record.duration, record.text) == ("a", 1.5, 2.0, "hello")


def test_a_record_without_an_id_is_named_after_its_source() -> None:
    assert decode(audio_filepath="x.wav").id == "topic-0-7"
    assert decode(audio_filepath="x.wav", id=None).id == "topic-0-7"


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({}, "audio_filepath"),
        ({"audio_filepath": 5}, "audio_filepath"),
        ({"audio_filepath": ""}, "audio_filepath"),
        ({"audio_filepath": "a\0b"}, "audio_filepath"),
        ({"audio_filepath": "a" * 5000}, "audio_filepath"),
        ({"audio_filepath": "a", "id": "x" * 600}, "id"),
        ({"audio_filepath": "a", "id": 7.0}, "id"),
        ({"audio_filepath": "a", "id": True}, "id"),
        ({"audio_filepath": "a", "id": ["7"]}, "id"),
        ({"audio_filepath": "a", "offset": -1}, "offset"),
        ({"audio_filepath": "a", "offset": "1,5"}, "offset"),
        ({"audio_filepath": "a", "offset": "-1"}, "offset"),
        ({"audio_filepath": "a", "offset": ""}, "offset"),
        ({"audio_filepath": "a", "duration": "0.0"}, "duration"),
        ({"audio_filepath": "a", "duration": "nan"}, "duration"),
        ({"audio_filepath": "a", "domain": ["legal", "medical"]}, "domain"),
        ({"audio_filepath": "a", "lang": [1]}, "lang"),
        ({"audio_filepath": "a", "duration": 0}, "duration"),
        ({"audio_filepath": "a", "duration": 1e9}, "duration"),
        ({"audio_filepath": "a", "text": ["hello"]}, "text"),
        ({"audio_filepath": "a", "channel": -1}, "channel"),
        ({"audio_filepath": "a", "channel": "left"}, "channel"),
        ({"audio_filepath": "a", "channel": True}, "channel"),
        ({"audio_filepath": "a", "channel": [0, 1]}, "channel"),
        ({"audio_filepath": "a", "channel": 1.5}, "channel"),
        ({"audio_filepath": "a", "channel": 1000}, "channel"),
        ({"audio_filepath": "a", "phrases": ["jane\0doe"]}, "phrases"),
        ({"audio_filepath": "a", "phrases": ["jane doe"] * 101}, "phrases"),
    ],
)
def test_a_wrong_key_is_refused_by_name(keys: dict[str, object], named: str) -> None:
    with pytest.raises(ManifestError) as caught:
        decode(**keys)
    assert caught.value.code is ErrorCode.RECORD_SCHEMA
    assert f"`{named}`" in str(caught.value)


def test_a_value_that_can_mean_one_thing_only_is_taken() -> None:
    record = decode(
        id=7,
        audio_filepath="x.wav",
        offset="1.5",
        duration=" 2 ",
        lang=["en"],
        domain=["law"],
        conditions=["noisy"],
        channel="1",
    )
    assert record == decode(
        id="7",
        audio_filepath="x.wav",
        offset=1.5,
        duration=2.0,
        lang="en",
        domain="law",
        conditions="noisy",
        channel=1,
    )
    assert decode(audio_filepath="x.wav", channel="average").channel == "mean"


@pytest.mark.parametrize(
    ("value", "channel"), [(0, 0), ("1", 1), ("average", "mean"), (None, None)]
)
def test_the_key_of_nemo_for_a_channel(value: object, channel: object) -> None:
    record = decode(audio_filepath="x.wav", channel_selector=value)
    assert record.channel == channel
    assert record.extra == {"channel_selector": value}  # passes through, too
    again = decode_manifest(encode_manifest(record), default_id="x")
    assert again.channel == channel


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"channel_selector": [0, 1]}, "is no channel; give the number of a channel"),
        ({"channel_selector": True}, "is no channel"),
        ({"channel_selector": 1, "channel": 0}, "means 1, and `channel` is 0; leave one of them"),
        ({"channel_selector": "average", "channel": 0}, "means mean, and `channel` is 0"),
    ],
)
def test_a_key_of_nemo_that_says_something_else(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        decode(audio_filepath="x.wav", **keys)
    assert f"`channel_selector`: {message}" in str(caught.value)
    assert caught.value.key == "channel_selector"


def test_a_byte_order_mark_is_no_part_of_the_record() -> None:
    data = json.dumps({"audio_filepath": "x.wav"}).encode("utf-8-sig")
    assert decode_manifest(data, default_id="x").audio_filepath == "x.wav"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_in_json_is_named(value: float) -> None:
    for keys in ({"duration": value}, {"note": [{"deep": value}], "text": "hello"}):
        with pytest.raises(ManifestError) as caught:
            decode(audio_filepath="x.wav", **keys)
        assert caught.value.code is ErrorCode.RECORD_JSON
        assert caught.value.key == next(iter(keys))
        assert f"`{caught.value.key}`: is {json.dumps(value)}" in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (rb'{"text": "hello \ud83d"}', r"`text`: has half a character (\ud83d)"),
        (rb'{"note": [{"deep": "\udc00\ud800"}]}', r"`note`: has half a character (\udc00)"),
        (rb'{"a\ud800": 1}', r"`a\ud800`: has half a character"),
        (rb'{"audio_filepath": "caf\udce9.wav"}', "`audio_filepath`: has a byte that is not UTF-8"),
        (b'{"audio_filepath": "caf\xe9.wav"}', "`audio_filepath`: is not UTF-8"),
        (b'{"duration": 1e400}', "`duration`: is 1e400, more than a number can be"),
        (b'{"note": [-1.5e309]}', "`note`: is -1.5e309, more than"),
        (b'{"ward": 1%s}' % (b"0" * 5000), "`ward`: is 10000000000000000000..., more than"),
    ],
)
def test_what_is_no_value_is_named(data: bytes, message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        decode_manifest(data, default_id="x")
    assert caught.value.code is ErrorCode.RECORD_JSON
    assert str(caught.value).startswith(message)
    assert f"`{caught.value.key}`" in str(caught.value)
    str(caught.value).encode()


@pytest.mark.parametrize("number", [b"123456789012345678901234567890", b"1e-400", b"1e308"])
def test_large_numbers_are_numbers(number: bytes) -> None:
    data = b'{"audio_filepath": "x.wav", "note": %s}' % number
    assert decode_manifest(data, default_id="x").extra["note"] == json.loads(number)


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b'"text"', b"{", b"\xff\xfe", b"null", b"[" * 100_000, b'{"a":' * 100_000],
)
def test_what_is_no_json_object_is_refused_as_such(data: bytes) -> None:
    with pytest.raises(ManifestError) as caught:
        decode_manifest(data, default_id="x")
    assert caught.value.code is ErrorCode.RECORD_JSON


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_extra_keys_are_nested_no_deeper_than_can_travel(opening: str, closing: str) -> None:
    def nested(depth: int) -> bytes:
        value = opening * depth + str(10**30) + closing * depth
        return f'{{"audio_filepath": "x.wav", "note": {value}}}'.encode()

    record = decode_manifest(nested(MAX_EXTRA_DEPTH), default_id="x")
    assert encoded_call([record], CallOptions(), None)
    with pytest.raises(ManifestError, match="`note`") as caught:
        decode_manifest(nested(MAX_EXTRA_DEPTH + 1), default_id="x")
    assert caught.value.code is ErrorCode.RECORD_JSON


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(min_size=1).map(lambda key: "x_" + key), json_values, max_size=5))
def test_unknown_keys_pass_through_untouched(extra: dict[str, object]) -> None:
    record = decode(audio_filepath="x.wav", id="a", **extra)
    written = json.loads(encode_manifest(record))
    assert {key: written[key] for key in extra} == extra


@given(st.binary(max_size=200))
def test_any_bytes_are_a_record_or_a_manifest_error(data: bytes) -> None:
    with contextlib.suppress(ManifestError):
        decode_manifest(data, default_id="x")


def test_repr_shows_no_speech() -> None:
    record = decode(audio_filepath="patients/smith.wav", text="private", id="a")
    assert "private" not in repr(record)
    assert "smith" not in repr(record)
