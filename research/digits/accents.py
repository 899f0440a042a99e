"""The ten English digits with foreign accents, spelled by the rules of other languages.

espeak-ng's voice for a language reads these spellings with the sounds of that language: an
unaspirated /t/, another /r/, /s/ or /t/ where English has /θ/.
"""

from __future__ import annotations

#: Spellings by espeak-ng's name of the language, in the order of `recordings.WORDS`.
SPELLED = {
    "cs": "zíro van tú srí fór fajv siks sevn ejt najn",
    "de": "siro wann tu sri foor feif ßix ßewen ejt nein",
    "el": "ζίρο ουάν του θρι φορ φάιβ σιξ σέβεν έιτ νάιν",
    "es": "síro uán tú zri for fáif six séven éit náin",
    "fi": "siro van tuu srii foor faiv siks seven eit nain",
    "fr-fr": "ziro ouanne tou sri faur faïve sixe sévenne éïte naïne",
    "hi": "ज़ीरो वन टू थ्री फ़ोर फ़ाइव सिक्स सेवन एट नाइन",
    "hr": "ziro van tu tri for fajv siks seven ejt najn",
    "hu": "ziró van tú szrí for fájv sziksz szeven éjt nájn",
    "it": "ziro uan tu tri for faiv six seven eit nain",
    "nl": "ziero wan toe srie foor faif siks seven eet nain",
    "pl": "ziro łan tu sri for fajf siks sewen ejt najn",
    "pt": "ziro uan tu tri for faive six séven eit naine",
    "ro": "ziro uan tu tri for faiv six seven eit nain",
    "ru": "зиро уан ту сри фор файв сикс севен эйт найн",
    "sv": "siro vann to srii får fajv siks seven ejt najn",
    "tr": "ziro van tu tri for fayv siks sevın eyt nayn",
}
