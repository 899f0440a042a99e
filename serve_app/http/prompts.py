"""The phrases in a prompt that is free text.

To OpenAI's users a prompt is whatever helps a language model: a list of names, a sentence about the
recording, the text before it. The models here can be biased towards phrases only, so a prompt is
searched for them: the items of its lists, and the names in its sentences.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from schemas.manifest import MAX_PHRASE_CHARS

#: An item of a list with more words is a part of a sentence.
MAX_ITEM_WORDS = 5

_SENTENCE_END = re.compile(r"(?<=\w\w\w[.!?…])\s+|(?<=[。！？])")
_ENDED = re.compile(r".*\s.*\w\w\w[.!?…]|.*[。！？]")
_ITEM_END = re.compile(r"[,;，；、]")
_AROUND = " \t\"'“”‘’„«»()[]:.!?…。！？"


def phrases_of(prompt: str) -> tuple[list[str], bool]:
    """The distinct phrases in `prompt`, in order, and whether that is all there is in it.

    A line or a sentence whose items, between commas or semicolons, have at most `MAX_ITEM_WORDS`
    words each, is a list of phrases. Of any other sentence only the names are taken: words with a
    capital letter that does not begin the sentence, or with digits or capitals inside.
    """
    found: dict[str, None] = {}
    complete = True
    for line in prompt.splitlines():
        for sentence in _SENTENCE_END.split(line):
            items = [each.strip() for each in _ITEM_END.split(sentence)]
            if _is_list(sentence, items):
                found.update(dict.fromkeys(filter(None, items)))
            else:
                complete = False
                found.update(dict.fromkeys(_names(sentence)))
    return list(found), complete


def _is_list(sentence: str, items: list[str]) -> bool:
    if _ENDED.fullmatch(sentence.strip()):
        return False
    return all(
        len(each.split()) <= MAX_ITEM_WORDS and len(each) <= MAX_PHRASE_CHARS for each in items
    )


def _names(sentence: str) -> Iterator[str]:
    for item in _ITEM_END.split(sentence):
        run: list[str] = []
        for word in [*item.split(), ""]:
            bare = word.strip(_AROUND)
            if any(char.isupper() or char.isdigit() for char in bare):
                run.append(bare)
                continue
            name = " ".join(run)
            at_start = bool(run) and sentence.lstrip(_AROUND).startswith(run[0])
            if name and len(name) <= MAX_PHRASE_CHARS and not (at_start and _is_ordinary(run)):
                yield name
            run = []


def _is_ordinary(run: list[str]) -> bool:
    """Whether the first words of a sentence may have their capital from that alone."""
    return len(run) == 1 and not any(char.isupper() or char.isdigit() for char in run[0][1:])
