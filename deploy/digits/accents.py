"""The ten digits as people of other languages say them in English, spelled for their languages.

espeak-ng's voice of a language reads its spelling with the sounds that its speakers have: a /t/
without breath, an /r/ of their own, /s/ or /t/ where English has /θ/. In the order of
`recordings.WORDS`.
"""

from __future__ import annotations

#: By espeak-ng's name of the language.
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
