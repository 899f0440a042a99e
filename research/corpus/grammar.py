"""Sentence grammars: templates whose `{slots}` are filled at random."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from random import Random

import yaml

#: The domains that have a grammar.
DOMAINS = ("general", "medical", "legal")

_SLOT = re.compile(r"\{(\w+)\}")
_FOLDER = Path(__file__).parent / "grammars"


@dataclass(frozen=True)
class Grammar:
    """The sentences of one domain.

    Attributes:
        slots: the alternatives of each slot; an alternative may contain slots itself.
        templates: sentences with slots, drawn with equal probability whatever their variety:
            drawing distinct sentences instead would hardly ever use templates with few sentences.
    """

    slots: dict[str, list[str]]
    templates: list[str]

    def sample(self, rng: Random) -> tuple[str, str]:
        """Draw a random template and a random sentence of it."""
        template = rng.choice(self.templates)
        return template, self.fill(template, rng)

    def fill(self, template: str, rng: Random) -> str:
        """Replace each slot of `template` by a random alternative."""
        return _SLOT.sub(lambda slot: self.fill(rng.choice(self.slots[slot[1]]), rng), template)

    def variety(self, template: str) -> int:
        """The number of sentences that `template` can make."""
        return prod(
            sum(self.variety(alternative) for alternative in self.slots[slot])
            for slot in _SLOT.findall(template)
        )

    @cached_property
    def vocabulary(self) -> list[str]:
        """All words of the grammar, sorted."""
        texts = [*self.templates, *(text for texts in self.slots.values() for text in texts)]
        # "{item}s" is a word: fill the slot before splitting
        words = {word for text in texts for token in text.split() for word in self._words(token)}
        return sorted(words)

    def _words(self, token: str) -> list[str]:
        slot = _SLOT.search(token)
        if slot is None:
            return [token]
        if slot[0] == token:
            return []  # the words of its alternatives are listed separately
        return [
            token.replace(slot[0], alternative)
            for alternative in self.slots[slot[1]]
            if " " not in alternative
        ]

    def random_words(self, rng: Random) -> str:
        """Three to eight random words, so that models learn words instead of templates."""
        return " ".join(rng.choices(self.vocabulary, k=rng.randint(3, 8)))


def load_grammar(domain: str) -> Grammar:
    """Load the grammar of `domain`, one of `DOMAINS`.

    Raises:
        FileNotFoundError: there is no such grammar.
    """
    content = yaml.safe_load((_FOLDER / f"{domain}.yaml").read_text())
    return Grammar(slots=content["slots"], templates=content["templates"])
