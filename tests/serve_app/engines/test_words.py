from __future__ import annotations

import pytest

from schemas.transcript import Word
from serve_app.engines.words import Tokens, fold_words, mean_confidence


def tokens(surfaces: list[str], confidences: list[float] | None = None) -> Tokens:
    """Tokens that start on every second frame and last one."""
    starts = [2 * index for index in range(len(surfaces))]
    return Tokens(surfaces, starts, [start + 1 for start in starts], confidences)


def fold(text: str, each: Tokens) -> list[Word] | None:
    return fold_words(text, each, frame_seconds=0.1, duration=100)


def test_pieces_are_folded_with_times_and_the_product_of_confidences() -> None:
    folded = fold("the cat's", tokens(["the", "ca", "t", "'s"], [0.9, 0.5, 0.8, 1.0]))
    assert folded == [Word("the", 0.0, 0.1, 0.9), Word("cat's", 0.2, 0.7, 0.4)]


def test_characters_with_bare_spaces() -> None:
    folded = fold("ab c", tokens(["a", "b", "", "c"]))
    assert folded == [Word("ab", 0.0, 0.3), Word("c", 0.6, 0.7)]


def test_a_mark_that_the_text_pulls_to_its_word() -> None:
    # the pieces are "yes" and " ," but the text says "yes,"
    assert fold("yes, no", tokens(["yes", ",", "no"])) == [
        Word("yes,", 0.0, 0.3),
        Word("no", 0.4, 0.5),
    ]


@pytest.mark.parametrize(
    ("text", "surfaces"),
    [
        ("a b", ["a"]),
        ("a", ["a", "b"]),
        ("a b", ["a", "x"]),
        ("of the", ["ofthe"]),
        ("", ["a"]),
    ],
)
def test_no_words_rather_than_wrong_ones(text: str, surfaces: list[str]) -> None:
    assert fold(text, tokens(surfaces)) is None


def test_silence_has_no_words() -> None:
    assert fold("", tokens([])) == []
    assert fold("", tokens(["", ""])) == []


def test_no_time_lies_beyond_the_clip() -> None:
    folded = fold_words("a b", tokens(["a", "b"]), frame_seconds=0.1, duration=0.25)
    assert folded == [Word("a", 0.0, 0.1), Word("b", 0.2, 0.25)]


def test_mean_confidence() -> None:
    words = [Word("a", 0, 1, 0.5), Word("b", 1, 2, 0.7)]
    assert mean_confidence(words) == pytest.approx(0.6)
    assert mean_confidence([Word("a", 0, 1)]) is None
    assert mean_confidence([]) is None
    assert mean_confidence(None) is None
