from __future__ import annotations

from typing import Any

import pytest

from schemas.manifest import ManifestRecord
from schemas.settings import MEASURES, Condition, Routing, Rule
from serve_app.routing.rules import Selector


def record(**keys: Any) -> ManifestRecord:
    return ManifestRecord(**{"id": "r", "audio_filepath": "calls/Phone-7.wav", **keys})


def chosen(
    rules: list[Rule], rec: ManifestRecord | None = None, seconds: float = 5.0
) -> tuple[str, str]:
    selector = Selector(Routing(default="general", rules=rules))
    choice = selector.choose(rec if rec is not None else record(), {"audio.seconds": seconds})
    return choice.target, choice.rule


def holds(condition: Condition, rec: ManifestRecord | None = None, seconds: float = 5.0) -> bool:
    return chosen([Rule(name="a", model="m", all=[condition])], rec, seconds) == ("m", "a")


#: The rules of the tutorial that the settings start from.
TUTORIAL = [
    Rule(
        name="medical",
        model="medical",
        any=[
            Condition(field="domain", equals="medical"),
            Condition(field="audio_filepath", contains=["medical"]),
        ],
    ),
    Rule(
        name="legal",
        model="legal",
        any=[
            Condition(field="domain", equals="legal"),
            Condition(field="audio_filepath", contains=["legal"]),
        ],
    ),
    Rule(
        name="phone",
        model="telephony",
        all=[Condition(field="audio_filepath", contains=["phone", "call"])],
    ),
    Rule(name="short", model="short", all=[Condition(field="audio.seconds", below=2.0)]),
]


@pytest.mark.parametrize(
    ("keys", "seconds", "expected"),
    [
        ({"audio_filepath": "a.wav"}, 5.0, ("general", "default")),
        ({"audio_filepath": "a.wav", "domain": "medical"}, 5.0, ("medical", "medical")),
        ({"audio_filepath": "MEDICAL/a.wav"}, 5.0, ("medical", "medical")),
        ({"audio_filepath": "phone/a.wav", "domain": "legal"}, 1.0, ("legal", "legal")),
        ({"audio_filepath": "recall.wav"}, 5.0, ("telephony", "phone")),
        ({"audio_filepath": "a.wav"}, 1.99, ("short", "short")),
        ({"audio_filepath": "a.wav"}, 2.0, ("general", "default")),
    ],
)
def test_the_rules_of_the_tutorial_in_order(
    keys: dict[str, Any], seconds: float, expected: tuple[str, str]
) -> None:
    assert chosen(TUTORIAL, record(**keys), seconds) == expected


def test_without_rules_everything_goes_to_the_default() -> None:
    assert chosen([]) == ("general", "default")


def test_all_and_any_must_both_hold() -> None:
    rule = Rule(
        name="a",
        model="m",
        all=[Condition(field="lang", equals="en")],
        any=[Condition(field="domain", equals="x"), Condition(field="domain", equals="y")],
    )
    assert chosen([rule], record(lang="en", domain="y")) == ("m", "a")
    assert chosen([rule], record(lang="de", domain="y")) == ("general", "default")
    assert chosen([rule], record(lang="en", domain="z")) == ("general", "default")


def test_extra_keys_can_be_tested() -> None:
    rec = record(extra={"line": 2, "urgent": True, "note": None})
    assert holds(Condition(field="line", equals=2), rec)
    assert holds(Condition(field="line", one_of=[1, 2]), rec)
    assert not holds(Condition(field="line", one_of=["2"]), rec)
    assert holds(Condition(field="urgent", equals=True), rec)
    assert not holds(Condition(field="urgent", equals=1), rec), "true is not 1 in JSON"
    assert not holds(Condition(field="note", present=True), rec), "null counts as absent"


def test_a_key_named_extra_is_a_key_of_the_record() -> None:
    assert holds(Condition(field="extra", equals="x"), record(extra={"extra": "x"}))
    assert not holds(Condition(field="extra", present=True))


def test_contains_ignores_case_and_matches_does_not() -> None:
    assert holds(Condition(field="audio_filepath", contains=["nope", "PHONE"]))
    assert holds(Condition(field="audio_filepath", matches=r"Phone-\d"))
    assert not holds(Condition(field="audio_filepath", matches=r"phone-\d"))


def test_a_missing_field_makes_a_condition_false_unless_it_asks_for_absence() -> None:
    for test in (
        {"equals": "x"},
        {"one_of": ["x"]},
        {"contains": [""]},
        {"matches": ""},
        {"below": 1e9},
        {"at_least": -1e9},
        {"present": True},
    ):
        assert not holds(Condition(field="domain", **test)), test
    assert holds(Condition(field="domain", present=False))
    assert not holds(Condition(field="domain", present=False), record(domain="x"))


@pytest.mark.parametrize("value", [["phone"], {"phone": 1}, True, 3, "3"])
def test_a_value_of_another_type_never_raises(value: Any) -> None:
    rec = record(extra={"odd": value})
    assert not holds(Condition(field="odd", contains=["phone"]), rec)
    assert not holds(Condition(field="odd", matches="phone"), rec)
    if value != 3:
        assert not holds(Condition(field="odd", at_least=0), rec)


def test_bounds_of_numbers() -> None:
    assert holds(Condition(field="audio.seconds", at_least=5.0))
    assert not holds(Condition(field="audio.seconds", below=5.0))
    assert holds(Condition(field="offset", below=1), record(offset=0.5))


@pytest.mark.parametrize("measure", MEASURES)
def test_a_measure_is_never_what_the_record_says_of_itself(measure: str) -> None:
    own = record(extra={measure: 1.0, measure.removeprefix("audio."): 1.0, "snr": 1.0})
    rule = Rule(name="r", model="m", all=[Condition(field=measure, below=2.0)])
    selector = Selector(Routing(default="general", rules=[rule]))
    assert selector.choose(own, {measure: 5.0}).rule == "default"
    assert selector.choose(own, {}).rule == "default"
    assert selector.choose(own, {measure: 0.5}).values == {measure: 0.5}
    assert holds(Condition(field="snr", equals=1.0), own), "a key of the producer's"


def test_a_choice_says_which_values_made_it() -> None:
    selector = Selector(Routing(default="general", rules=TUTORIAL))
    choice = selector.choose(record(domain="medical"), {"audio.seconds": 1.0})
    assert (choice.rule, choice.values) == ("medical", {"domain": "medical"})
    other = record(audio_filepath="a.wav")
    assert selector.choose(other, {"audio.seconds": 1.0}).values == {"audio.seconds": 1.0}
    assert selector.choose(other, {"audio.seconds": 5.0}).values == {}


def test_every_condition_can_be_looked_at() -> None:
    selector = Selector(Routing(default="general", rules=TUTORIAL))
    tried = selector.test_conditions(record(domain="legal"), {"audio.seconds": 5.0})
    assert [(each.rule, each.value, each.holds) for each in tried] == [
        ("medical", "legal", False),
        ("medical", "calls/Phone-7.wav", False),
        ("legal", "legal", True),
        ("legal", "calls/Phone-7.wav", False),
        ("phone", "calls/Phone-7.wav", True),
        ("short", 5.0, False),
    ]


GERMAN = Condition(field="audio.lang", equals="de")
SURE = Condition(field="audio.lang_confidence", at_least=0.8)
SHORT, LONG = Condition(field="audio.seconds", below=2), Condition(field="audio.seconds", below=9)


@pytest.mark.parametrize(
    ("all_of", "any_of", "needed"),
    [
        ([GERMAN], [], True),
        ([SURE, LONG], [], True),
        ([GERMAN, SHORT], [], False),  # cannot hold, whatever is spoken
        ([LONG], [GERMAN, LONG], False),  # holds, whatever is spoken
        ([LONG], [GERMAN, SHORT], True),
        ([Condition(field="audio.lang", present=False)], [], True),
        ([LONG], [], False),
    ],
)
def test_a_language_is_needed_only_if_the_choice_depends_on_it(
    all_of: list[Condition], any_of: list[Condition], needed: bool
) -> None:
    rules = [
        Rule(name="ward", model="a", all=[Condition(field="ward", equals=7)]),
        Rule(name="language", model="b", all=all_of, any=any_of),
    ]
    selector = Selector(Routing(default="general", rules=rules, language_model="b"))
    measures: dict[str, float | str] = {"audio.seconds": 5.0}
    assert selector.needs_language(record(), measures) is needed
    assert not selector.needs_language(record(extra={"ward": 7}), measures)
    assert not selector.needs_language(record(lang="fr"), measures)
    assert not selector.needs_language(record(), measures | {"audio.lang": "de"})


def test_the_language_is_the_records_before_it_is_what_was_heard() -> None:
    heard: dict[str, float | str] = {"audio.lang": "de", "audio.lang_confidence": 0.5}
    selector = Selector(
        Routing(default="general", rules=[Rule(name="r", model="m", all=[GERMAN, SURE])])
    )
    assert selector.choose(record(), heard).rule == "default"
    assert selector.choose(record(), heard | {"audio.lang_confidence": 0.8}).rule == "r"
    assert selector.choose(record(lang="de_AT"), {}).values == {
        "audio.lang": "de",
        "audio.lang_confidence": 1.0,
    }
    assert selector.choose(record(lang="en"), heard).rule == "default"
