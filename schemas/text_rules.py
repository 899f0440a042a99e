"""How a domain writes what is heard: abbreviations, units, spellings; rules tested by example."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial

import msgspec

from schemas.inverse_normalization import Language, digits, units


class TextRule(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One change of a text; exactly one of `find` and `matches` is given.

    Attributes:
        replace: what is written instead; with `matches`, its groups as in ``\\1``.
        find: words, found as whole words only, upper and lower case alike: "bp" is in "the bp." and
            not in "bpm" or "bp's".
        matches: a regular expression.
    """

    replace: str
    find: str | list[str] | None = None
    matches: str | None = None


class TextExample(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What the rules must make of a text; checked before anything starts."""

    heard: str
    written: str


class TextRules(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How texts are written: numbers, then units, then each rule on what the ones before made.

    Attributes:
        numbers: a language; its numbers are written as digits, see `inverse_normalization.digits`.
        units: whether English units after a number are written as symbols, as in "5 mg".
        examples: of what comes out.
    """

    numbers: Language | None = None
    units: bool = False
    rules: list[TextRule] = []
    examples: list[TextExample] = []


def compile_text_rules(rules: TextRules) -> Callable[[str], str]:
    """A function that writes a text by `rules`, which have no faults."""
    changes = [_change(rule) for rule in rules.rules]
    if rules.units:
        changes.insert(0, units(rules.numbers))
    if rules.numbers is not None:
        changes.insert(0, digits(rules.numbers))

    def write(text: str) -> str:
        for change in changes:
            text = change(text)
        return text

    return write


def text_rule_faults(rules: TextRules) -> Iterator[tuple[str, str]]:
    """Pairs of (key, what is wrong)."""
    faulty = False
    for index, rule in enumerate(rules.rules):
        reason = _fault(rule)
        if reason is not None:
            faulty = True
            yield f"rules[{index}]", reason
    if faulty:
        return
    write = compile_text_rules(rules)
    for index, example in enumerate(rules.examples):
        written = write(example.heard)
        if written != example.written:
            yield f"examples[{index}]", f"the rules write {written!r}"


def _fault(rule: TextRule) -> str | None:
    if (rule.find is None) == (rule.matches is None):
        return "give exactly one of `find` and `matches`"
    if rule.find is not None and not all(each.strip() for each in _phrases(rule)):
        return "`find` has no words"
    try:
        if rule.matches is not None:
            # a group that there is not shows only where something is replaced
            re.compile(f"(?:{rule.matches})|").sub(rule.replace, "")
    except (re.error, IndexError) as error:
        return f"`matches` or `replace` is not right: {error}"
    return None


def _phrases(rule: TextRule) -> list[str]:
    found = [rule.find] if isinstance(rule.find, str) else rule.find or [""]
    return sorted(found, key=len, reverse=True)


def _change(rule: TextRule) -> Callable[[str], str]:
    if rule.matches is not None:
        return partial(re.compile(rule.matches).sub, rule.replace)
    words = "|".join(r"\s+".join(map(re.escape, each.split())) for each in _phrases(rule))
    # an apostrophe belongs to a word only between two letters
    whole = re.compile(rf"(?<!\w)(?<!\w')(?:{words})(?!\w)(?!'\w)", re.IGNORECASE)
    replace = rule.replace
    return partial(whole.sub, lambda _: replace)
