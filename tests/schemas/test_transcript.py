from __future__ import annotations

import json

import msgspec
import pytest

from schemas.transcript import Timings, Transcript, Word, decode_transcript, encode_transcript


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


def test_extra_keys_stand_at_the_top_and_ours_win():
    written = json.loads(encode_transcript(transcript()))
    assert written["speaker"] == {"age": 30}
    assert written["pred_text"] == "hello"
    assert "extra" not in written
    assert "wer" not in written  # no reference, no figure


def test_what_is_written_can_be_read():
    first = decode_transcript(encode_transcript(transcript()))
    assert first.words == [Word("hello", 0.1, 0.5, 0.9)]
    assert first.extra == {"speaker": {"age": 30}}
    assert decode_transcript(encode_transcript(first)) == first


def test_a_missing_key_is_an_error():
    with pytest.raises(msgspec.ValidationError, match="pred_text"):
        decode_transcript(b'{"id": "a", "audio_filepath": "x", "duration": 1}')


def test_repr_shows_no_speech():
    assert "hello" not in repr(transcript())
