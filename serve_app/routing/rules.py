"""Choose the plan or model of a record, by the rules of the settings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from schemas.manifest import ManifestRecord
from schemas.settings import (
    DEFAULT,
    LANGUAGE,
    LANGUAGE_CONFIDENCE,
    LANGUAGE_MEASURES,
    MEASURES,
    SPEECH_SHARE,
    Condition,
    Routing,
    Rule,
    Scalar,
)
from serve_app.audio.clip import Measures
from serve_app.engines.languages import language_of

_Test = Callable[[Any], bool]

_FIELDS = frozenset(f.name for f in msgspec.structs.fields(ManifestRecord)) - {"extra"}


class Choice(msgspec.Struct, frozen=True):
    """The plan or model of a record, and why it was chosen.

    Attributes:
        target: name of the plan or model.
        rule: name of the rule that held, "default" or "requested".
        values: the values that made the rule hold, by field.
    """

    target: str
    rule: str
    values: dict[str, Any] = {}


class ConditionResult(msgspec.Struct, frozen=True):
    """The result of one condition of a rule for a record.

    Attributes:
        rule: name of the rule.
        condition: the condition.
        value: the value that it tested; None if the record has none.
        holds: whether it holds.
    """

    rule: str
    condition: Condition
    value: Any
    holds: bool


class Selector:
    """Applies the rules of `routing`. Holds no state: safe to share between threads.

    Args:
        routing: the rules and the default.

    Attributes:
        needs_speech: whether a rule tests the share of speech, which is measured only then.
    """

    def __init__(self, routing: Routing) -> None:
        tested = {each.field for each in routing.conditions}
        self.needs_speech = SPEECH_SHARE in tested
        self._tests_language = not LANGUAGE_MEASURES.isdisjoint(tested)
        self._default = Choice(routing.default, DEFAULT)
        self._rules = [_CompiledRule(rule) for rule in routing.rules]

    def choose(self, record: ManifestRecord, measures: Measures) -> Choice:
        """Choose the target of the first rule that holds, else the default.

        Args:
            record: the record, its extra keys included.
            measures: measured of its audio, by the names in `schemas.settings.MEASURES`.
        """
        for rule in self._rules:
            if rule.holds(record, measures):
                return Choice(rule.target, rule.name, rule.values(record, measures))
        return self._default

    def needs_language(self, record: ManifestRecord, measures: Measures) -> bool:
        """Whether the choice depends on the language that is spoken, which nobody has said yet.

        Args:
            record: as for `choose`.
            measures: as for `choose`, so far.
        """
        if not self._tests_language or record.lang or LANGUAGE in measures:
            return False
        for rule in self._rules:
            held = rule.holds_without_language(record, measures)
            if held is not False:
                return held is None
        return False

    def test_conditions(self, record: ManifestRecord, measures: Measures) -> list[ConditionResult]:
        """Test every condition of every rule, in order, to explain the choice.

        Args:
            record: the record, its extra keys included.
            measures: as for `choose`.
        """
        return [
            ConditionResult(
                rule.name, each.condition, each.value(record, measures), each(record, measures)
            )
            for rule in self._rules
            for each in (*rule.all_of, *rule.any_of)
        ]


class _CompiledRule:
    def __init__(self, rule: Rule) -> None:
        self.name = rule.name
        self.target = rule.target
        self.all_of = [_CompiledCondition(condition) for condition in rule.all]
        self.any_of = [_CompiledCondition(condition) for condition in rule.any]

    def holds(self, record: ManifestRecord, measures: Measures) -> bool:
        return all(test(record, measures) for test in self.all_of) and (
            not self.any_of or any(test(record, measures) for test in self.any_of)
        )

    def holds_without_language(self, record: ManifestRecord, measures: Measures) -> bool | None:
        """Whether it holds; None if that depends on the language."""

        def test(one: _CompiledCondition) -> bool | None:
            return None if one.of_language else one(record, measures)

        some = _some(map(test, self.any_of)) if self.any_of else True
        return _every([*map(test, self.all_of), some])

    def values(self, record: ManifestRecord, measures: Measures) -> dict[str, Any]:
        """The values that make the rule hold, by field; call it only if it holds."""
        return {
            test.condition.field: test.value(record, measures)
            for test in (*self.all_of, *self.any_of)
            if test(record, measures)
        }


class _CompiledCondition:
    def __init__(self, condition: Condition) -> None:
        self.condition = condition
        self.of_language = condition.field in LANGUAGE_MEASURES
        self._test = None if condition.present is not None else _compile_test(condition)

    def __call__(self, record: ManifestRecord, measures: Measures) -> bool:
        value = self.value(record, measures)
        if self._test is None:
            return (value is not None) is self.condition.present
        return value is not None and self._test(value)

    def value(self, record: ManifestRecord, measures: Measures) -> Any:
        return _value(record, measures, self.condition.field)


def _compile_test(condition: Condition) -> _Test:
    """Make the test of a condition; it is false for values of another type."""
    if condition.equals is not None:
        choices = [condition.equals]
        return lambda value: _is_one_of(value, choices)
    if condition.one_of is not None:
        choices = condition.one_of
        return lambda value: _is_one_of(value, choices)
    if condition.contains is not None:
        parts = [part.casefold() for part in condition.contains]
        return lambda value: isinstance(value, str) and _contains(value.casefold(), parts)
    if condition.matches is not None:
        search = re.compile(condition.matches).search
        return lambda value: isinstance(value, str) and search(value) is not None
    if condition.below is not None:
        below = condition.below
        return lambda value: _is_number(value) and value < below
    if condition.at_least is not None:
        at_least = condition.at_least
        return lambda value: _is_number(value) and value >= at_least
    raise ValueError(f"the condition on `{condition.field}` has no test")


def _value(record: ManifestRecord, measures: Measures, field: str) -> Any:
    """The value of `field`; None if there is none or it is null.

    A measure is never what the record says of itself, whatever its keys are called; but the
    language is its `lang`, which saves asking a model.
    """
    if field in _FIELDS:
        return getattr(record, field)
    if field in LANGUAGE_MEASURES and record.lang:
        return {LANGUAGE: language_of(record.lang), LANGUAGE_CONFIDENCE: 1.0}[field]
    return measures.get(field) if field in MEASURES else record.extra.get(field)


def _every(values: Iterable[bool | None]) -> bool | None:
    """Whether all hold, some of which may be unknown (None)."""
    known = list(values)
    return False if False in known else None if None in known else True


def _some(values: Iterable[bool | None]) -> bool | None:
    """Whether one holds, where some may be unknown (None)."""
    known = list(values)
    return True if True in known else None if None in known else False


def _contains(text: str, parts: list[str]) -> bool:
    return any(part in text for part in parts)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_one_of(value: Any, choices: Sequence[Scalar]) -> bool:
    """Whether `value` equals a choice as in JSON, where `true` is not 1 (in Python it is)."""
    return any(
        value == choice and isinstance(value, bool) is isinstance(choice, bool)
        for choice in choices
    )
