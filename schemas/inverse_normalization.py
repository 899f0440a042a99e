"""Inverse text normalisation: numbers and units as they are written, not as they are spoken."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import takewhile
from typing import Literal, NamedTuple

import text_to_num

#: Languages that spelled numbers are known in (text2num's).
Language = Literal["de", "en", "es", "fr", "it", "nl", "pt"]

#: Symbols of the SI brochure, and others in common use, by English name.
UNITS = {
    "microgram": "µg",
    "milligram": "mg",
    "gram": "g",
    "kilogram": "kg",
    "microliter": "µl",
    "microlitre": "µl",
    "milliliter": "ml",
    "millilitre": "ml",
    "liter": "l",
    "litre": "l",
    "millimeter of mercury": "mmHg",
    "millimetre of mercury": "mmHg",
    "millimole per liter": "mmol/l",
    "millimole per litre": "mmol/l",
    "millimeter": "mm",
    "millimetre": "mm",
    "centimeter": "cm",
    "centimetre": "cm",
    "meter": "m",
    "metre": "m",
    "kilometer": "km",
    "kilometre": "km",
    "kilometer per hour": "km/h",
    "kilometre per hour": "km/h",
    "beat per minute": "bpm",
    "degree celsius": "°C",
    "degree fahrenheit": "°F",
    "percent": "%",
    "per cent": "%",
    "hertz": "Hz",
    "kilohertz": "kHz",
    "watt": "W",
    "kilowatt": "kW",
    "volt": "V",
}
#: Symbols that follow the number without a space.
_NO_SPACE = {"%", "°C", "°F"}


#: A number up to this that stands alone stays a word: it may be a pronoun ("one of them").
_SMALL = 3
#: Values from which a number word never stands without another in front, and such words of English.
_MILLION = 1_000_000
_ENGLISH_MULTIPLIERS = frozenset({"hundred", "thousand"})
#: Words between the whole and the fraction of a number.
_POINTS = frozenset({"point", "komma", "virgule", "coma", "punto", "virgola", "vírgula", "ponto"})
_TOKEN = re.compile(r"\w+(?:[-'\u2019]\w+)*|[^\w\s]")


class Number(NamedTuple):
    """A spelled number in a text that can be read in one way only.

    Attributes:
        start, end: its place in the text.
        digits: how it is written.
        alone: whether it is small and stands alone, so that it may be no number at all.
    """

    start: int
    end: int
    digits: str
    alone: bool


def spelled_numbers(text: str, language: Language) -> list[Number]:
    """The spelled numbers in `text` whose value is certain, in order.

    Number words that follow each other without being one number ("twenty twenty one", "five hundred
    five hundred") may be read in several ways, and are left out, unless each is a single digit. So
    are "thirty one hundred", ordinals ("thirty second" may be half a minute), and multiples without
    a number in front ("two and a half million").

    Args:
        text: what was heard.
        language: of the number words.
    """
    tokens = [_Word(match) for match in _TOKEN.finditer(text)]
    found = text_to_num.find_numbers(tokens, language, 0.0)
    certain: list[Number] = []
    for group in _adjacent(found):
        before, after = group[0].start - 1, group[-1].end
        around = [tokens[at].lowered for at in (before, after) if 0 <= at < len(tokens)]
        if any(each in _POINTS or each.isdigit() for each in around):
            continue
        words = tokens[group[0].start : group[-1].end]
        if len(words) > 1 and all(_is_digit(each, language) for each in words):
            certain += [each.number(language, alone=False) for each in words]
        elif (
            len(group) == 1
            and not group[0].is_ordinal
            and not _lacks_number(words[0], language)
            and _composed(words, language) == int(group[0].value)
        ):
            alone = group[0].value <= _SMALL and len(words) == 1
            certain.append(Number(words[0].start, words[-1].end, group[0].text, alone))
    return certain


def number_runs(words: Sequence[str], language: Language) -> list[tuple[int, int, str]]:
    """Runs of words that may be read as one number: the first, the end, and the digits.

    What is not certain is among them ("thirty one hundred" as 3100, "thirty second" as 32nd): they
    are for comparison with what somebody has written in digits.

    Args:
        words: without punctuation around them.
        language: of the number words.
    """
    tokens = [_Word(match) for word in words for match in re.finditer(r"(?s)^.*", word)]
    found = text_to_num.find_numbers(tokens, language, 0.0)
    return [
        (each.start, each.end, each.text)
        for each in found
        # text2num takes "ones" for one; no number word of English ends so
        if language != "en"
        or not any(word.lower().endswith("s") for word in words[each.start : each.end])
    ]


class _Word:
    """A token of a text, as text2num wants it."""

    def __init__(self, match: re.Match[str]) -> None:
        self.start, self.end = match.span()
        self.lowered = match[0].lower()

    def text(self) -> str:
        return self.lowered

    def nt_separated(self, previous: _Word) -> bool:
        return False

    def not_a_number_part(self) -> bool:
        return False

    def number(self, language: Language, *, alone: bool) -> Number:
        """The number that this word spells."""
        value = text_to_num.text2num(self.lowered, language)
        return Number(self.start, self.end, str(value), alone)


def _adjacent(found: list[text_to_num.Occurence]) -> Iterator[list[text_to_num.Occurence]]:
    """Groups of numbers without another word or mark between them."""
    group: list[text_to_num.Occurence] = []
    for each in found:
        if group and each.start != group[-1].end:
            yield group
            group = []
        group.append(each)
    if group:
        yield group


def _is_digit(word: _Word, language: Language) -> bool:
    value = _value(word, language)
    return value is not None and value < 10


def _lacks_number(first: _Word, language: Language) -> bool:
    """Whether a number that begins with the word `first` lacks how many of it there are."""
    if language == "en" and first.lowered in _ENGLISH_MULTIPLIERS:
        return True
    value = _value(first, language)
    return value is not None and value >= _MILLION and first.lowered[:1].isalpha()


def _composed(words: list[_Word], language: Language) -> float | None:
    """The whole value of words that are composed as one number; None if they may be several.

    A word adds what all that came before it leaves room for ("two hundred", "thirty", "one"), or is
    a multiplier: a hundred of one to nine, a thousand or more of anything. Hence "thirty one
    hundred" is 3100 or 30, 100. Words without a value, such as "and", count for nothing. English
    has no hundred alone, so "thirty hundred" is one number too; French has four twenties, and ten
    to nineteen after sixty and eighty.
    """
    whole = list(takewhile(lambda word: word.lowered not in _POINTS, words))
    values = [found for word in whole if (found := _value(word, language)) is not None]
    if len(values) > 1 and values[0] == 0:
        return None
    total = current = last = 0.0
    for value in values:
        if value >= 1_000:
            total, current = total + max(current, 1) * value, 0.0
        elif value == 100 and 0 < current == last < (100 if language == "en" else 10):
            current *= 100
        elif language == "fr" and value == 20 and current % 100 == 4 == last:
            current += 76
        elif _has_room(current, value, language):
            current += value
        else:
            return None
        last = value
    return total + current


def _has_room(current: float, value: float, language: Language) -> bool:
    """Whether a number that has come to `current`, below 1000, may go on with `value`."""
    if current == 0:
        return True
    if language == "fr" and 10 <= value < 20 and current % 100 in (60, 80):
        return True
    return 0 < value < 100 and current % (10 if value < 10 else 100) == 0


def _value(word: _Word, language: Language) -> float | None:
    try:
        return float(text_to_num.text2num(word.lowered, language))
    except ValueError:
        return None


def digits(language: Language) -> Callable[[str], str]:
    """A function that writes spelled numbers as digits: "one hundred and twenty" as "120".

    A number up to three that stands alone stays a word, and so do words that are not certainly one
    number; see `spelled_numbers`.
    """
    return partial(_digits, language=language)


def _digits(text: str, language: Language) -> str:
    written, end = [], 0
    for number in spelled_numbers(text, language):
        if not number.alone:
            written += [text[end : number.start], number.digits]
            end = number.end
    return "".join([*written, text[end:]])


def units(language: Language | None) -> Callable[[str], str]:
    """A function that writes a unit after a number as its symbol: "120 milligrams" as "120 mg".

    Args:
        language: of numbers as words; a small one before a unit is one after all ("two grams").
    """
    names = "|".join(sorted(map(_any_number, UNITS), key=len, reverse=True))
    found = re.compile(rf"(?<!\w)(?<!\w[.,])([\w.,]*\w)\s+({names})(?!\w)", re.IGNORECASE)

    def write(match: re.Match[str]) -> str:
        amount = match[1]
        if language is not None and not amount[0].isdigit():
            known = spelled_numbers(match.string, language)
            spelled = (each.digits for each in known if (each.start, each.end) == match.span(1))
            amount = next(spelled, amount)
        if not amount[0].isdigit():
            return match[0]
        symbol = unit_symbol(match[2])
        if symbol is None:
            return match[0]
        return f"{amount}{'' if symbol in _NO_SPACE else ' '}{symbol}"

    return partial(found.sub, write)


def _any_number(unit: str) -> str:
    """A pattern for one and for many of `unit`: "degree celsius" and "degrees celsius"."""
    first, *rest = unit.split()
    return r"\s+".join([f"{first}s?", *rest])


def unit_symbol(written: str) -> str | None:
    """The symbol of a unit, in the singular or the plural.

    None for letters that only the pattern takes for those of the unit, such as a dotless i.
    """
    first, *rest = written.lower().split()
    for name in (" ".join([first, *rest]), " ".join([first.removesuffix("s"), *rest])):
        if name in UNITS:
            return UNITS[name]
    return None
