"""How the words of a domain are written: abbreviations, units, spellings; tested by examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import msgspec
import regex

from schemas.inverse_normalization import Language, digits, units
from schemas.unicode_text import composed, whole_words


class TextRule(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    r"""One change of a text; exactly one of `find` and `matches` is given.

    Attributes:
        replace: what is written instead; with `matches`, its groups as in ``\1``.
        find: words, found as whole words only, upper and lower case alike: "bp" is in "the bp."
            and not in "bpm" or "bp's".
        matches: a regular expression.
    """

    replace: str
    find: str | list[str] | None = None
    matches: str | None = None


class TextExample(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What the rules must make of a text; checked before anything starts.

    Attributes:
        heard: a text as a model hears it.
        written: the text that the rules must make of it.
    """

    heard: str
    written: str


class TextRules(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How texts are written: numbers, then units, then each rule on what the ones before made.

    Attributes:
        numbers: language whose spelled numbers are written as digits: "one hundred and twenty" as
            "120". What is not certainly one number stays in words ("twenty twenty one", ordinals),
            and so does a number up to three that stands alone.
        units: whether English units after a number are written as symbols, as in "5 mg".
        rules: changes of the text, applied in this order.
        examples: texts before and after the rules, checked when the settings are read.
    """

    numbers: Language | None = None
    units: bool = False
    rules: list[TextRule] = []
    examples: list[TextExample] = []


def compile_text_rules(rules: TextRules) -> Callable[[str], str]:
    """A function that applies `rules` to a text; `text_rule_faults` must have found no fault."""
    changes = [_change(rule) for rule in rules.rules]
    if rules.units:
        changes.insert(0, units(rules.numbers))
    if rules.numbers is not None:
        changes.insert(0, digits(rules.numbers))

    def write(text: str) -> str:
        text = composed(text)
        for change in changes:
            text = change(text)
        return text

    return write


def text_rule_faults(rules: TextRules) -> Iterator[tuple[str, str]]:
    """What is wrong with `rules`, as pairs of (key, reason): a rule, or what an example becomes."""
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
        if written != composed(example.written):
            yield f"examples[{index}]", f"the rules write {written!r}"


def _fault(rule: TextRule) -> str | None:
    if (rule.find is None) == (rule.matches is None):
        return "give exactly one of `find` and `matches`"
    if rule.find is not None and not all(each.strip() for each in _phrases(rule)):
        return "`find` has no words"
    try:
        if rule.matches is not None:
            regex.compile(rule.matches)
            # A group in `replace` that does not exist is reported only when something is replaced:
            # "|" makes the pattern match the empty text, and the line break ends a comment before
            # it. Nothing stands in front, because flags such as (?i) must come first.
            regex.compile(f"{rule.matches}\n|").sub(rule.replace, "")
    except (regex.error, IndexError) as error:
        return f"`matches` or `replace` is not valid: {error}"
    return None


def _phrases(rule: TextRule) -> list[str]:
    return [rule.find] if isinstance(rule.find, str) else rule.find or [""]


def _change(rule: TextRule) -> Callable[[str], str]:
    if rule.matches is not None:
        return partial(regex.compile(composed(rule.matches)).sub, rule.replace)
    replace = rule.replace
    return partial(whole_words(_phrases(rule)).sub, lambda _: replace)
