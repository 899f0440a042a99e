"""How a record is transcribed: the rules of the settings, compiled to plain functions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from schemas.manifest import ManifestRecord
from schemas.settings import SPEECH_SHARE, Condition, Routing, Rule, Scalar

#: Name of the rule in the result when no rule held.
DEFAULT = "default"
#: Its name where the caller has named the plan or model.
REQUESTED = "requested"

Measures = Mapping[str, float]
_Test = Callable[[Any], bool]

_FIELDS = frozenset(f.name for f in msgspec.structs.fields(ManifestRecord)) - {"extra"}


class Choice(msgspec.Struct, frozen=True):
    """What was chosen for a record, and why.

    Attributes:
        target: name of the plan or model.
        rule: name of the rule that held, or "default".
        values: of the fields that made it hold, by field.
    """

    target: str
    rule: str
    values: dict[str, Any] = {}


class Tried(msgspec.Struct, frozen=True):
    """One condition of a rule against a record: the value that it met, None where there is none."""

    rule: str
    condition: Condition
    value: Any
    holds: bool


class Selector:
    """The compiled rules of `routing`. Holds no state: safe to share between threads.

    Attributes:
        needs_speech: whether a rule tests the share of speech, which is measured only then.
    """

    def __init__(self, routing: Routing) -> None:
        conditions = [each for rule in routing.rules for each in (*rule.all, *rule.any)]
        self.needs_speech = any(each.field == SPEECH_SHARE for each in conditions)
        self._default = Choice(routing.default, DEFAULT)
        self._rules = [_CompiledRule(rule) for rule in routing.rules]

    def choose(self, record: ManifestRecord, measures: Measures) -> Choice:
        """The plan for `record`: of the first rule that holds, else the default.

        Args:
            record: the record, its extra keys included.
            measures: what was measured of its audio, by the names in `schemas.settings.MEASURES`.
        """
        for rule in self._rules:
            if rule.holds(record, measures):
                return Choice(rule.target, rule.name, rule.values(record, measures))
        return self._default

    def try_all(self, record: ManifestRecord, measures: Measures) -> list[Tried]:
        """Every condition of every rule, in order: why rules before the chosen one did not hold."""
        return [
            Tried(rule.name, each.condition, each.value(record, measures), each(record, measures))
            for rule in self._rules
            for each in (*rule.every, *rule.some)
        ]


class _CompiledRule:
    def __init__(self, rule: Rule) -> None:
        self.name = rule.name
        self.target = rule.target
        self.every = [_CompiledCondition(condition) for condition in rule.all]
        self.some = [_CompiledCondition(condition) for condition in rule.any]

    def holds(self, record: ManifestRecord, measures: Measures) -> bool:
        return all(test(record, measures) for test in self.every) and (
            not self.some or any(test(record, measures) for test in self.some)
        )

    def values(self, record: ManifestRecord, measures: Measures) -> dict[str, Any]:
        """The values by which it holds, where it does."""
        return {
            test.condition.field: test.value(record, measures)
            for test in (*self.every, *self.some)
            if test(record, measures)
        }


class _CompiledCondition:
    def __init__(self, condition: Condition) -> None:
        self.condition = condition
        self._test = None if condition.present is not None else _compile_test(condition)

    def __call__(self, record: ManifestRecord, measures: Measures) -> bool:
        value = self.value(record, measures)
        if self._test is None:
            return (value is not None) is self.condition.present
        return value is not None and self._test(value)

    def value(self, record: ManifestRecord, measures: Measures) -> Any:
        return _value(record, measures, self.condition.field)


def _compile_test(condition: Condition) -> _Test:
    """The condition's test of a value that is there. A value of another type does not hold."""
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
    """The value of `field`, None where there is none (a JSON null counts as none)."""
    if field in _FIELDS:
        return getattr(record, field)
    if field in measures:
        return measures[field]
    return record.extra.get(field)


def _contains(text: str, parts: list[str]) -> bool:
    return any(part in text for part in parts)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_one_of(value: Any, choices: Sequence[Scalar]) -> bool:
    """Equality as in JSON: `true` is not 1 (it is in Python)."""
    return any(
        value == choice and isinstance(value, bool) is isinstance(choice, bool)
        for choice in choices
    )
