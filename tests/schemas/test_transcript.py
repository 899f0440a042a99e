from __future__ import annotations

import json

import msgspec
import pytest

from schemas.failures import ErrorCode, RecordError
from schemas.manifest import ManifestError, decode_manifest
from schemas.transcript import (
    Timings,
    Transcript,
    Word,
    decode_transcript,
    encode_failure,
    encode_transcript,
)


def transcript() -> Transcript:
    return Transcript(
        id="a",
        audio_filepath="x.wav",
        duration=1.5,
        pred_text="hello",
        selected_model="general",
        model_path="models/general.nemo",
        rule="default",
        words=[Word("hello", 0.1, 0.5, 0.9)],
        timings=Timings(model_ms=3.0),
        extra={"speaker": {"age": 30}, "pred_text": "an older hypothesis", "wer": "unknown"},
    )


def test_extra_keys_stand_at_the_top_and_ours_win() -> None:
    written = json.loads(encode_transcript(transcript()))
    assert written["speaker"] == {"age": 30}
    assert written["pred_text"] == "hello"
    assert "extra" not in written
    assert "wer" not in written  # no reference, no figure


def test_what_is_written_can_be_read() -> None:
    first = decode_transcript(encode_transcript(transcript()))
    assert first.words == [Word("hello", 0.1, 0.5, 0.9)]
    assert first.extra == {"speaker": {"age": 30}}
    assert decode_transcript(encode_transcript(first)) == first


def test_a_failure_keeps_nothing_that_came_of_earlier_work() -> None:
    own = {"id": "a", "audio_filepath": "x.wav", "text": "hello", "speaker": "anna"}
    earlier = {**json.loads(encode_transcript(transcript())), "wer": 3.0, "pred_text_vote": "hello"}
    record = decode_manifest(json.dumps({**earlier, **own}).encode(), default_id="x")
    error = RecordError(id="a", code=ErrorCode.AUDIO_MISSING, message="x.wav: no such file")
    written = json.loads(encode_failure(record, error))
    assert written.pop("processing_error") == "audio_missing: x.wav: no such file"
    assert written == {**own, "offset": 0.0, "duration": 1.5}


def test_what_is_no_record_keeps_what_it_says() -> None:
    own = {"id": 17, "audio_filepath": "a.wav", "offset": -1, "ward": 7, "wer": 3.0}
    with pytest.raises(ManifestError) as caught:
        decode_manifest(json.dumps(own).encode(), default_id="m.jsonl:2")
    found = caught.value
    assert found.id == "17"
    error = RecordError(id=found.id, code=found.code, message=str(found))
    written = json.loads(encode_failure(found.keys, error))
    assert written.pop("processing_error").startswith("record_schema: `offset`")
    assert written == {"id": "17", "audio_filepath": "a.wav", "offset": -1, "ward": 7}


@pytest.mark.parametrize("own", [None, "", "a\nb", ["a"], 1.5, True, "x" * 10_000])
def test_what_cannot_be_an_id_is_none(own: object) -> None:
    with pytest.raises(ManifestError) as caught:
        decode_manifest(json.dumps({"id": own, "offset": -1}).encode(), default_id="m:2")
    assert caught.value.id is None


def test_a_missing_key_is_an_error() -> None:
    with pytest.raises(msgspec.ValidationError, match="pred_text"):
        decode_transcript(b'{"id": "a", "audio_filepath": "x", "duration": 1}')


def test_repr_shows_no_speech() -> None:
    assert "hello" not in repr(transcript())
