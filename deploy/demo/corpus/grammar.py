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
        slots: the alternatives of each slot; an alternative may hold slots itself.
        templates: sentences with slots, drawn with equal chance whatever their variety: drawing
            unique sentences instead would starve the templates of few sentences.
    """

    slots: dict[str, list[str]]
    templates: list[str]

    def sample(self, rng: Random) -> tuple[str, str]:
        """A random (template, sentence)."""
        template = rng.choice(self.templates)
        return template, self.fill(template, rng)

    def fill(self, template: str, rng: Random) -> str:
        """`template` with each slot replaced by a random alternative."""
        return _SLOT.sub(lambda slot: self.fill(rng.choice(self.slots[slot[1]]), rng), template)

    def variety(self, template: str) -> int:
        """How many sentences `template` makes."""
        return prod(
            sum(self.variety(alternative) for alternative in self.slots[slot])
            for slot in _SLOT.findall(template)
        )

    @cached_property
    def vocabulary(self) -> list[str]:
        """Every word, sorted."""
        texts = [*self.templates, *(text for texts in self.slots.values() for text in texts)]
        # "{item}s" makes a word of its own: fill the slot before splitting
        words = {word for text in texts for token in text.split() for word in self._words(token)}
        return sorted(words)

    def _words(self, token: str) -> list[str]:
        slot = _SLOT.search(token)
        if slot is None:
            return [token]
        if slot[0] == token:
            return []  # the words of its alternatives are listed by themselves
        return [
            token.replace(slot[0], alternative)
            for alternative in self.slots[slot[1]]
            if " " not in alternative
        ]

    def random_words(self, rng: Random) -> str:
        """Three to eight words in no order: teaches a model to hear words, not templates."""
        return " ".join(rng.choices(self.vocabulary, k=rng.randint(3, 8)))


def load_grammar(domain: str) -> Grammar:
    """The grammar of `domain`, one of `DOMAINS`.

    Raises:
        FileNotFoundError: there is none.
    """
    content = yaml.safe_load((_FOLDER / f"{domain}.yaml").read_text())
    return Grammar(slots=content["slots"], templates=content["templates"])
