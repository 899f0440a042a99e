"""Inverse text normalisation: numbers and units as they are written, not as they are spoken."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Literal

import text_to_num

#: Languages that spelled numbers are known in (text2num's).
Language = Literal["de", "en", "es", "fr", "it", "nl", "pt"]

#: Symbols of the SI brochure and of common usage beside it, by the English names.
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
#: No space stands before these.
_CLOSE = {"%", "°C", "°F"}


def digits(language: Language) -> Callable[[str], str]:
    """A function that writes spelled numbers as digits: "one hundred and twenty" as "120".

    A number up to three that stands alone stays a word, for it may be a pronoun ("one of them").
    """
    return partial(_digits, language=language)


def _digits(text: str, language: Language, threshold: float = 3.0) -> str:
    return text_to_num.alpha2digit(text, language, threshold)


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
            amount = _digits(amount, language, 0.0)
        if not amount[0].isdigit():
            return match[0]
        symbol = _symbol(match[2])
        return f"{amount}{'' if symbol in _CLOSE else ' '}{symbol}"

    return partial(found.sub, write)


def _any_number(unit: str) -> str:
    """A pattern for one and for many of `unit`: "degree celsius" and "degrees celsius"."""
    first, *rest = unit.split()
    return r"\s+".join([f"{first}s?", *rest])


def _symbol(written: str) -> str:
    first, *rest = written.lower().split()
    for name in (" ".join([first, *rest]), " ".join([first.removesuffix("s"), *rest])):
        if name in UNITS:
            return UNITS[name]
    raise KeyError(written)  # the pattern is made of the same names
