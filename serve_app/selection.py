"""Which model transcribes a record: the rules of the settings, compiled to plain functions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from schemas.manifest import ManifestRecord
from schemas.settings import Condition, Routing, Rule, Scalar

#: Name of the rule in the result when no rule held.
DEFAULT = "default"

Measures = Mapping[str, float]
_Test = Callable[[Any], bool]
_Holds = Callable[[ManifestRecord, Measures], bool]

_FIELDS = frozenset(f.name for f in msgspec.structs.fields(ManifestRecord)) - {"extra"}


class Selector:
    """The compiled rules of `routing`. Holds no state: safe to share between threads."""

    def __init__(self, routing: Routing) -> None:
        self._default = routing.default
        self._rules = [(rule.name, rule.model, _compile_rule(rule)) for rule in routing.rules]

    def choose(self, record: ManifestRecord, measures: Measures) -> tuple[str, str]:
        """The model for `record`, and the name of the rule that chose it.

        The first rule that holds wins; where none does, the default model and "default".

        Args:
            record: the record, its extra keys included.
            measures: what was measured of its audio, by the names in `schemas.settings.MEASURES`.
        """
        for name, model, holds in self._rules:
            if holds(record, measures):
                return model, name
        return self._default, DEFAULT


def _compile_rule(rule: Rule) -> _Holds:
    every = [_compile_condition(condition) for condition in rule.all]
    some = [_compile_condition(condition) for condition in rule.any]

    def holds(record: ManifestRecord, measures: Measures) -> bool:
        return all(test(record, measures) for test in every) and (
            not some or any(test(record, measures) for test in some)
        )

    return holds


def _compile_condition(condition: Condition) -> _Holds:
    field = condition.field
    if condition.present is not None:
        wanted = condition.present
        return lambda record, measures: (_value(record, measures, field) is not None) is wanted
    test = _compile_test(condition)

    def holds(record: ManifestRecord, measures: Measures) -> bool:
        value = _value(record, measures, field)
        return value is not None and test(value)

    return holds


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
