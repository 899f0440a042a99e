"""Calls of the Router in MessagePack come out as they went in."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from schemas.failures import ErrorCode, RecordError
from schemas.manifest import ManifestRecord
from schemas.records_call import RecordsAnswer, RecordsCall, decode, encode
from schemas.requests import Backlog, CallOptions
from tests.workers.console.samples import voted

#: What JSON may hold, numbers beyond 64 bits included.
VALUES = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | some.text(),
    lambda inner: some.lists(inner) | some.dictionaries(some.text(), inner),
    max_leaves=8,
)


@given(some.dictionaries(some.text(), VALUES))
def test_what_a_record_brings_along_stays_as_it_is(extra: dict[str, object]) -> None:
    record = ManifestRecord(id="a", audio_filepath="a.wav", extra=extra)
    call = RecordsCall(records=[record], options=CallOptions(traces={0: "00-a"}))
    assert decode(encode(call), RecordsCall) == call
    answer = RecordsAnswer.of(
        [voted(extra=extra), RecordError(id="b", code=ErrorCode.AUDIO_MISSING, message="m")]
    )
    assert decode(encode(answer), RecordsAnswer) == answer


def test_options_stay_as_they_are() -> None:
    backlog = Backlog(records=1, arriving=0.5, partitions=2, catch_up_s=3.0, records_per_worker=4)
    options = CallOptions(words=True, interactive=True, settings="s", group="g", backlog=backlog)
    call = RecordsCall(records=[], options=options)
    assert decode(encode(call), RecordsCall) == call


def with_extra(code: int, data: bytes) -> bytes:
    """A call with an extension of MessagePack in it."""
    extra = {"n": msgspec.msgpack.Ext(code, data)}
    record = {"id": "a", "audio_filepath": "a.wav", "extra": extra}
    return msgspec.msgpack.encode({"records": [record]})


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "truncated"),
        (b"\xc1", "malformed"),
        (b"\x80", "records"),
        (with_extra(9, b"1"), "unknown extension 9"),
        (with_extra(1, b"x"), "invalid literal"),
    ],
)
def test_what_is_no_call_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decode(body, RecordsCall)
