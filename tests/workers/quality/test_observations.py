"""What a transcript says, in numbers."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.transcript import Timings, Transcript
from workers.quality.observations import Observation, Observer


def transcript(text: str, **keys: Any) -> Transcript:
    given: dict[str, Any] = {
        "id": "call-17",
        "audio_filepath": "a.wav",
        "duration": 4.0,
        "pred_text": text,
        "selected_model": "general",
        "model_path": "general.nemo",
        "rule": "default",
        "timings": Timings(),
    }
    return Transcript(**(given | keys))


def observed(text: str, **keys: Any) -> Observation:
    return Observer().observe(transcript(text, **keys), 12.0)


def test_a_version_is_that_of_the_model_or_its_file() -> None:
    assert observed("yes", model_version="7", model_sha256="ab" * 32).version == "7"
    assert observed("yes", model_sha256="ab" * 32).version == "abababababab"
    seen = observed("yes", domain="calls")
    assert (seen.model, seen.domain, seen.version, seen.time) == ("general", "calls", "", 12.0)


def test_words_are_counted_per_second_of_audio() -> None:
    assert observed("Send it, now!").values["words_per_second"] == (3, 4.0)
    assert observed("").values["empty"] == (1, 1)
    assert observed("?!").values["empty"] == (1, 1)
    assert observed("yes").values["empty"] == (0, 1)


def test_a_decoder_that_lost_the_sound_repeats_itself() -> None:
    assert observed("thank you " * 30).values["repeating"] == (1, 1)
    assert observed("send the package to seventeen main street").values["repeating"] == (0, 1)


def test_the_text_of_another_record_is_a_duplicate_unless_it_is_short() -> None:
    observer = Observer()
    duplicates = [
        observer.observe(transcript(text)).values["duplicate"][0]
        for text in ("thanks for watching this", "yes", "Thanks for watching this.", "yes")
    ]
    assert duplicates == [0, 0, 1, 0]
    for number in range(300):
        observer.observe(transcript(f"something else is said here {number}"))
    again = observer.observe(transcript("thanks for watching this"))
    assert again.values["duplicate"] == (0, 1), "it was too long ago"


def test_word_errors_count_where_there_is_a_reference() -> None:
    assert observed("a b", word_errors=1, reference_words=3).values["wer"] == (1, 3)
    assert "wer" not in observed("a b").values


def test_members_of_an_ensemble_disagree_by_words() -> None:
    vote = observed(
        "send it now",
        ensemble_model_count=2,
        extra={"pred_text_a": "send it now", "pred_text_b": "lend it", "pred_text": 5},
    )
    assert vote.values["disagreement"] == (2, 6)
    assert observed("send it", screening_pred="lend it").values["disagreement"] == (1, 2)
    ours = observed("yes", extra={"pred_text_theirs": "no"})
    assert "disagreement" not in ours.values, "the record came with that key"


@pytest.mark.parametrize(("clipping", "clipped"), [(0.0, 0), (0.02, 1)])
def test_measures_of_the_audio_are_taken_as_they_are(clipping: float, clipped: int) -> None:
    measures: dict[str, float | str] = {"snr_db": 21.5, "lang": "de", "clipping": clipping}
    values = observed("yes", audio_measures=measures).values
    assert values["snr_db"] == (21.5, 1)
    assert values["seconds"] == (4.0, 1)
    assert values["clipping"] == (clipped, 1)
    assert "lang" not in values
    assert "bandwidth_hz" not in values
