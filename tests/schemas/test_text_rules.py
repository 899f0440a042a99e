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
        (TextRule(matches="(", replace="x"), "is not right: .*unterminated"),
        (TextRule(matches="a", replace=r"\1"), "is not right: invalid group"),
    ],
)
def test_what_is_wrong_with_a_rule_is_told(rule: TextRule, reason: str) -> None:
    ((key, told),) = text_rule_faults(TextRules(rules=[BP, rule]))
    assert key == "rules[1]"
    assert re.search(reason, told)


def test_an_example_that_does_not_come_out_is_told() -> None:
    examples = [
        TextExample(heard="high bp", written="high blood pressure"),
        TextExample(heard="bp", written="bp"),
    ]
    found = list(text_rule_faults(TextRules(rules=[BP], examples=examples)))
    assert found == [("examples[1]", "the rules write 'blood pressure'")]
