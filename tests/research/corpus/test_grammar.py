from __future__ import annotations

from random import Random

import pytest

from research.corpus.grammar import DOMAINS, Grammar, load_grammar

GRAMMAR = Grammar(
    slots={"who": ["anna", "the {job}"], "job": ["cook", "pilot"]},
    templates=["{who} met {who}", "go home", "two {job}s"],
)


def test_variety_counts_what_nested_slots_make() -> None:
    assert [GRAMMAR.variety(t) for t in GRAMMAR.templates] == [9, 1, 2]


def test_sampling_reaches_every_sentence_and_no_other() -> None:
    rng = Random(1)
    sentences = {GRAMMAR.sample(rng)[1] for _ in range(2000)}
    assert len(sentences) == 9 + 1 + 2
    assert "the pilot met anna" in sentences
    assert not any("{" in sentence for sentence in sentences)


def test_templates_are_drawn_evenly_whatever_their_variety() -> None:
    rng = Random(1)
    drawn = [GRAMMAR.sample(rng)[0] for _ in range(3000)]
    assert all(800 < drawn.count(template) < 1200 for template in GRAMMAR.templates)


def test_vocabulary_holds_words_made_of_slot_and_suffix() -> None:
    assert GRAMMAR.vocabulary == [
        "anna", "cook", "cooks", "go", "home", "met", "pilot", "pilots", "the", "two",
    ]  # fmt: skip


@pytest.mark.parametrize("domain", DOMAINS)
def test_shipped_grammars_speak_only_letters(domain: str) -> None:
    grammar = load_grammar(domain)
    rng = Random(1)
    spoken = {grammar.sample(rng)[1] for _ in range(2000)}
    assert set("".join(spoken)) <= set("abcdefghijklmnopqrstuvwxyz' ")
    assert {word for sentence in spoken for word in sentence.split()} <= set(grammar.vocabulary)
