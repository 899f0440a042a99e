from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.scoring.wer import (
    NORMALISER,
    WHISPER_ENGLISH,
    ErrorCounts,
    Normaliser,
    compared_words,
    count_character_errors,
    count_errors,
    normalise,
    normalise_each,
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, World!", ["hello", "world"]),
        ("  tabs\tand\nlines ", ["tabs", "and", "lines"]),
        ("don't 'quote' dogs'", ["don't", "quote", "dogs"]),
        ("don’t", ["don't"]),
        ("follow-up and/or 3.5%", ["follow", "up", "and", "or", "3", "5"]),
        ("ＦＵＬＬ ﬁne", ["full", "fine"]),
        ("STRASSE Straße", ["strasse", "straße"]),
        ("हिन्दी भाषा।", ["हिन्दी", "भाषा"]),
        ("soft\u00adhyphen \ufeffmark", ["softhyphen", "mark"]),
        ("\u0130stanbul I\u0307STANBUL istanbul", ["istanbul"] * 3),
        ("caf\u00e9 cafe\u0301", ["caf\u00e9", "caf\u00e9"]),
        ("call \u260e\ufe0f 1\ufe0f\u20e3 now", ["call", "1", "now"]),
        ("\U0001f44d\U0001f3fd ok \U0001f468\u200d\U0001f469\u200d\U0001f467", ["ok"]),
        ("don\u00b4t don`t don\u2032t don\u201bt don\uff07t", ["don't"] * 5),
        ("\u00b4quoted` \u0301", ["quoted"]),
        ("...", []),
        ("", []),
    ],
)
def test_normalise(text: str, words: list[str]) -> None:
    assert normalise(text) == words


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalise(text)
    assert normalise(" ".join(once)) == once


def test_whisper_s_normaliser_makes_families_of_models_comparable() -> None:
    reference, hypothesis = (
        "It's eight weeks of colour, um, Mr. Smith.",
        "it is 8 weeks of color mister smith",
    )
    assert count_errors(reference, hypothesis, "whisper-english").errors == 0
    assert count_character_errors(reference, hypothesis, "whisper-english").errors == 0
    assert count_errors(reference, hypothesis).errors > 0


def test_the_names_of_normalisers() -> None:
    assert get_args(Normaliser) == (NORMALISER, WHISPER_ENGLISH)
    # in a comparison of an earlier version
    assert (
        compared_words("One, two", "nfkc-lower-words")
        == compared_words("One, two")
        == ["one", "two"]
    )


@pytest.mark.parametrize(
    ("reference", "hypothesis", "errors"),
    [
        ("今天天气很好。", "今天天汽很好", ErrorCounts(substitutions=1, reference=6)),
        ("コーヒーを飲む", "コーヒを飲む", ErrorCounts(deletions=1, reference=7)),
        ("สวัสดีครับ", "สวัสดีค่ะ", ErrorCounts(substitutions=2, deletions=1, reference=7)),
        ("ខ្ញុំ", "ខ្ញុំ", ErrorCounts(reference=2)),
        # the mixed error rate
        (
            "我用 Python 写 code",
            "我用 Python 写作 cold",
            ErrorCounts(substitutions=1, insertions=1, reference=5),
        ),
        ("오늘 날씨가 좋다", "오늘 날씨는 좋다", ErrorCounts(substitutions=1, reference=3)),
    ],
)
def test_scripts_without_spaces_are_counted_by_the_character(
    reference: str, hypothesis: str, errors: ErrorCounts
) -> None:
    assert count_errors(reference, hypothesis) == errors


def test_characters_are_counted_as_they_are_written() -> None:
    assert count_character_errors("今天 天气", "今天天气") == ErrorCounts(deletions=1, reference=5)


@pytest.mark.parametrize("lang", ["tr", "tr-TR", "az", "TR"])
def test_i_without_a_dot_is_another_letter_in_turkish(lang: str) -> None:
    assert normalise("ISPARTA İZMİR", lang) == ["ısparta", "izmir"]
    assert count_errors("Isparta", "ısparta", lang=lang).errors == 0
    assert count_errors("Isparta", "ısparta").errors == 1
    assert count_character_errors("Isparta", "ısparta", lang=lang).errors == 0


@pytest.mark.parametrize("lang", [None, "en", "trv", ""])
def test_i_is_i_in_other_languages(lang: str | None) -> None:
    assert normalise("INDIA", lang) == ["india"]


def test_counts_each_kind_of_error() -> None:
    errors = count_errors("a b c d e f g h", "A x c, d f g h i!")
    assert errors == ErrorCounts(substitutions=1, deletions=1, insertions=1, reference=8)
    assert errors.percent == pytest.approx(37.5)


def test_what_differs_only_in_writing_is_no_error() -> None:
    assert count_errors("It's 5 o’clock.", "it's 5 o'clock").percent == 0.0


@pytest.mark.parametrize("reference", ["", " ", "?!"])
def test_an_empty_reference_has_no_rate(reference: str) -> None:
    errors = count_errors(reference, "two words")
    assert errors == ErrorCounts(insertions=2)
    assert errors.percent is None
    assert count_errors(reference, "").percent is None


def test_an_empty_hypothesis_is_all_deletions() -> None:
    assert count_errors("two words", "") == ErrorCounts(deletions=2, reference=2)


def test_pooling_weighs_by_length() -> None:
    long = count_errors("a b c d e f g h i", "a b c d e f g h i")
    short = count_errors("x", "y")
    assert sum([long, short], start=ErrorCounts()).percent == pytest.approx(10.0)


words = st.lists(st.sampled_from("abcd"), min_size=1, max_size=12).map(" ".join)


@given(words, words)
def test_agrees_with_jiwer(reference: str, hypothesis: str) -> None:
    percent = count_errors(reference, hypothesis).percent
    assert percent == pytest.approx(100 * jiwer.wer(reference, hypothesis))


@given(words, words)
def test_character_errors_agree_with_jiwer(reference: str, hypothesis: str) -> None:
    percent = count_character_errors(reference, hypothesis).percent
    assert percent == pytest.approx(100 * jiwer.cer(reference, hypothesis))


def test_of_equally_few_edits_those_with_fewest_substitutions_count() -> None:
    assert count_errors("a b", "b c") == ErrorCounts(deletions=1, insertions=1, reference=2)
    assert count_character_errors("ab", "bc") == ErrorCounts(deletions=1, insertions=1, reference=2)


def test_counts_equal_those_of_sclite() -> None:
    """`sclite.jsonl` is written by `python -m tests.scenarios.check_wer --golden FILE`."""
    lines = Path(__file__).with_name("sclite.jsonl").read_text().splitlines()
    assert len(lines) == 500
    for pair in map(json.loads, lines):
        texts = pair["reference"], pair["hypothesis"]
        assert _parts(count_errors(*texts)) == pair["words"]
        assert _parts(count_character_errors(*texts)) == pair["characters"]


def _parts(counts: ErrorCounts) -> list[int]:
    return [counts.substitutions, counts.deletions, counts.insertions]


@given(st.lists(st.text(max_size=6), max_size=6))
def test_words_are_normalised_together_as_one_by_one(words: list[str]) -> None:
    assert normalise_each(words) == [" ".join(normalise(word)) for word in words]


@pytest.mark.parametrize("words", [[], [""], ["ΟΔΟΣ", "Σ"], ["e", "\u0301", "x"], ["a\nb", "c"]])
def test_no_word_is_normalised_by_its_neighbours(words: list[str]) -> None:
    assert normalise_each(words) == [" ".join(normalise(word)) for word in words]
