from __future__ import annotations

import re

import pytest

from schemas.text_rules import (
    TextExample,
    TextRule,
    TextRules,
    compile_text_rules,
    text_rule_faults,
)


def written(text: str, *rules: TextRule) -> str:
    return compile_text_rules(TextRules(rules=list(rules)))(text)


BP = TextRule(find="bp", replace="blood pressure")


@pytest.mark.parametrize(
    ("heard", "said"),
    [
        ("bp", "blood pressure"),
        ("the BP, please", "the blood pressure, please"),
        ("normal bp.", "normal blood pressure."),
        ("'bp'", "'blood pressure'"),
        ("bpm and abp", "bpm and abp"),
        ("bp's", "bp's"),
        ("bp bp", "blood pressure blood pressure"),
    ],
)
def test_words_are_found_as_whole_words(heard: str, said: str) -> None:
    assert written(heard, BP) == said


def test_of_several_phrases_the_longest_counts() -> None:
    rule = TextRule(find=["m g", "m", "milli grams"], replace="mg")
    assert written("5 m  g and 3 milli grams and 2 m", rule) == "5 mg and 3 mg and 2 mg"


def test_regular_expressions_have_groups_and_rules_follow_each_other() -> None:
    over = TextRule(matches=r"(\d+) over (\d+)", replace=r"\1/\2")
    assert written("bp 120 over 80", BP, over) == "blood pressure 120/80"
    assert written(r"bp", TextRule(find="bp", replace=r"\1")) == r"\1", (
        "words are taken as they are"
    )


@pytest.mark.parametrize(
    ("heard", "said"),
    [
        ("take one hundred and twenty milligrams, then rest", "take 120 mg, then rest"),
        ("two milligrams of one of them", "2 mg of one of them"),
        ("three point five percent of thirty seven degrees celsius", "3.5% of 37°C"),
        ("a gram, the meter and kilograms", "a gram, the meter and kilograms"),
        ("eighty Beats per Minute", "80 bpm"),
        ("120 milligramsters", "120 milligramsters"),
        ("12 over 8 millimeters of mercury", "12 over 8 mmHg"),
        ("v2.5 grams", "v2.5 grams"),
    ],
)
def test_numbers_and_units(heard: str, said: str) -> None:
    assert compile_text_rules(TextRules(numbers="en", units=True))(heard) == said


def test_numbers_come_first_and_rules_last() -> None:
    over = TextRule(matches=r"(\d+) over (\d+)", replace=r"\1/\2")
    rules = TextRules(numbers="en", rules=[BP, over])
    heard = "bp one hundred and twenty over eighty"
    assert compile_text_rules(rules)(heard) == "blood pressure 120/80"
    german = TextRules(numbers="de", units=True)
    assert compile_text_rules(german)("einundzwanzig percent") == "21%"


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (TextRule(replace="x"), "give exactly one of"),
        (TextRule(find="a", matches="a", replace="x"), "give exactly one of"),
        (TextRule(find=" ", replace="x"), "`find` has no words"),
        (TextRule(find=[], replace="x"), "`find` has no words"),
        (TextRule(matches="(", replace="x"), "is not valid: missing \\)"),
        (TextRule(matches="a", replace=r"\1"), "is not valid: invalid group"),
        (TextRule(matches="(?x) a  # an a", replace=r"\1"), "is not valid: invalid group"),
        (TextRule(matches="a\\", replace="x"), "is not valid: bad escape"),
    ],
)
def test_what_is_wrong_with_a_rule_is_told(rule: TextRule, reason: str) -> None:
    ((key, told),) = text_rule_faults(TextRules(rules=[BP, rule]))
    assert key == "rules[1]"
    assert re.search(reason, told)


@pytest.mark.parametrize(
    ("find", "text", "expected"),
    [
        ("\u0915\u0932", "\u0915\u0932\u093e \u0915\u0932", "\u0915\u0932\u093e X"),  # Hindi
        ("\u0b95", "\u0b95\u0bbf \u0b95", "\u0b95\u0bbf X"),  # Tamil
        ("caf\u00e9", "Cafe\u0301 caf\u00e9s", "X caf\u00e9s"),
        ("cafe\u0301", "caf\u00e9", "X"),
        ("cafe", "cafe\u0301", "caf\u00e9"),
        ("bp", "bp\u2019s \u2018bp\u2019", "bp\u2019s \u2018X\u2019"),
    ],
)
def test_whole_words_of_any_script(find: str, text: str, expected: str) -> None:
    assert written(text, TextRule(find=find, replace="X")) == expected


def test_boundaries_of_a_regular_expression_are_those_of_unicode() -> None:
    rule = TextRule(matches="\\b\u0915\u0932\\b", replace="X")
    assert written("\u0915\u0932\u093e \u0915\u0932", rule) == "\u0915\u0932\u093e X"


def test_a_regular_expression_may_begin_with_flags() -> None:
    rule = TextRule(matches=r"(?i)\b(b)p\b", replace=r"\1lood pressure")
    assert list(text_rule_faults(TextRules(rules=[rule]))) == []
    assert written("Bp", rule) == "Blood pressure"


def test_letters_that_only_look_like_those_of_a_unit_are_left_alone() -> None:
    write = compile_text_rules(TextRules(units=True))
    for heard in (
        "5 m\N{LATIN SMALL LETTER DOTLESS I}lligrams",
        "5 gram\N{LATIN SMALL LETTER LONG S}",
    ):
        assert write(heard) == heard


def test_an_example_that_does_not_come_out_is_told() -> None:
    examples = [
        TextExample(heard="high bp", written="high blood pressure"),
        TextExample(heard="bp", written="bp"),
    ]
    found = list(text_rule_faults(TextRules(rules=[BP], examples=examples)))
    assert found == [("examples[1]", "the rules write 'blood pressure'")]
