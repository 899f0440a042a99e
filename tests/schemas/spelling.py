"""Numbers below a thousand as they are spelled, independently of what reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from schemas.inverse_normalization import Language


def _words(text: str) -> list[str]:
    return text.split()


_EN = _words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
)
_EN_TENS = _words("twenty thirty forty fifty sixty seventy eighty ninety")


def english(number: int) -> str:
    hundreds, rest = divmod(number, 100)
    if hundreds:
        return f"{_EN[hundreds]} hundred" + (f" and {english(rest)}" if rest else "")
    if rest < 20:
        return _EN[rest]
    tens, ones = divmod(rest, 10)
    return _EN_TENS[tens - 2] + (f" {_EN[ones]}" if ones else "")


_DE = _words(
    "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn "
    "fünfzehn sechzehn siebzehn achtzehn neunzehn"
)
_DE_TENS = _words("zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig")


def german(number: int) -> str:
    hundreds, rest = divmod(number, 100)
    if hundreds:
        return ("ein" if hundreds == 1 else _DE[hundreds]) + "hundert" + (german(rest) * bool(rest))
    if rest < 20:
        return _DE[rest]
    tens, ones = divmod(rest, 10)
    return ("" if not ones else f"{'ein' if ones == 1 else _DE[ones]}und") + _DE_TENS[tens - 2]


_FR = _words(
    "zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze "
    "seize dix-sept dix-huit dix-neuf"
)
_FR_TENS = _words("vingt trente quarante cinquante soixante soixante quatre-vingt quatre-vingt")


def french(number: int) -> str:
    hundreds, rest = divmod(number, 100)
    if hundreds:
        head = "cent" if hundreds == 1 else f"{_FR[hundreds]} cent"
        return f"{head} {french(rest)}" if rest else head + "s" * (hundreds > 1)
    if rest < 20:
        return _FR[rest]
    tens, ones = divmod(rest, 10)
    ones += 10 * (tens in (7, 9))
    head = _FR_TENS[tens - 2]
    if not ones:
        return head + "s" * (tens == 8)
    return f"{head} et {_FR[ones]}" if ones in (1, 11) and tens < 8 else f"{head}-{_FR[ones]}"


_ES = _words(
    "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince "
    "dieciséis diecisiete dieciocho diecinueve veinte veintiuno veintidós veintitrés "
    "veinticuatro veinticinco veintiséis veintisiete veintiocho veintinueve"
)
_ES_TENS = _words("treinta cuarenta cincuenta sesenta setenta ochenta noventa")
_ES_HUNDREDS = _words(
    "ciento doscientos trescientos cuatrocientos quinientos seiscientos setecientos "
    "ochocientos novecientos"
)


def spanish(number: int) -> str:
    hundreds, rest = divmod(number, 100)
    if hundreds:
        if number == 100:
            return "cien"
        return _ES_HUNDREDS[hundreds - 1] + (f" {spanish(rest)}" if rest else "")
    if rest < 30:
        return _ES[rest]
    tens, ones = divmod(rest, 10)
    return _ES_TENS[tens - 3] + (f" y {_ES[ones]}" if ones else "")


_IT = _words(
    "zero uno due tre quattro cinque sei sette otto nove dieci undici dodici tredici "
    "quattordici quindici sedici diciassette diciotto diciannove"
)
_IT_TENS = _words("venti trenta quaranta cinquanta sessanta settanta ottanta novanta")


def italian(number: int) -> str:
    hundreds, rest = divmod(number, 100)
    if hundreds:
        return ("" if hundreds == 1 else _IT[hundreds]) + "cento" + (italian(rest) * bool(rest))
    if rest < 20:
        return _IT[rest]
    tens, ones = divmod(rest, 10)
    head = _IT_TENS[tens - 2]
    if not ones:
        return head
    return (head[:-1] if ones in (1, 8) else head) + ("tré" if ones == 3 else _IT[ones])


_NL = _words(
    "nul een twee drie vier vijf zes zeven acht negen tien elf twaalf dertien veertien "
    "vijftien zestien zeventien achttien negentien"
)
_NL_TENS = _words("twintig dertig veertig vijftig zestig zeventig tachtig negentig")


def dutch(number: int) -> str:
    hundreds, rest = divmod(number, 100)
    if hundreds:
        return ("" if hundreds == 1 else _NL[hundreds]) + "honderd" + (dutch(rest) * bool(rest))
    if rest < 20:
        return _NL[rest]
    tens, ones = divmod(rest, 10)
    joint = "ën" if ones in (2, 3) else "en"
    return (f"{_NL[ones]}{joint}" if ones else "") + _NL_TENS[tens - 2]


_PT = _words(
    "zero um dois três quatro cinco seis sete oito nove dez onze doze treze catorze quinze "
    "dezesseis dezessete dezoito dezenove"
)
_PT_TENS = _words("vinte trinta quarenta cinquenta sessenta setenta oitenta noventa")
_PT_HUNDREDS = _words(
    "cento duzentos trezentos quatrocentos quinhentos seiscentos setecentos oitocentos novecentos"
)


def portuguese(number: int) -> str:
    hundreds, rest = divmod(number, 100)
    if hundreds:
        if number == 100:
            return "cem"
        return _PT_HUNDREDS[hundreds - 1] + (f" e {portuguese(rest)}" if rest else "")
    if rest < 20:
        return _PT[rest]
    tens, ones = divmod(rest, 10)
    return _PT_TENS[tens - 2] + (f" e {_PT[ones]}" if ones else "")


SPELLED: Mapping[Language, Callable[[int], str]] = {
    "de": german,
    "en": english,
    "es": spanish,
    "fr": french,
    "it": italian,
    "nl": dutch,
    "pt": portuguese,
}
