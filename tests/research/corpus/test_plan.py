from __future__ import annotations

import pytest

from research.corpus.grammar import DOMAINS, load_grammar
from research.corpus.plan import HOLD_OUT_FROM, plan
from research.corpus.voices import HELD_OUT_VOICES, TRAINING_VOICES

SIZES = {"train": 3000, "dev": 60, "test": 200, "demo": 40}
TRAINED = {voice for _, voices in TRAINING_VOICES for voice in voices}
HELD_OUT = {voice for _, voices in HELD_OUT_VOICES for voice in voices}


@pytest.mark.parametrize("domain", DOMAINS)
def test_no_test_sentence_is_heard_in_training(domain: str) -> None:
    splits = plan(domain, 5, SIZES)
    heard = {s: {text for one in splits[s] for text in one.sentences} for s in splits}
    assert not heard["test"] & heard["train"]
    assert not heard["dev"] & heard["train"]
    assert not heard["test"] & heard["dev"]
    assert {s: len(ones) for s, ones in splits.items()} == SIZES


def test_no_held_out_voice_is_heard_in_training() -> None:
    splits = plan("general", 5, SIZES)
    assert not TRAINED & HELD_OUT
    assert {one.voice for one in splits["train"] + splits["dev"]} == TRAINED
    new = [one.voice in HELD_OUT for one in splits["test"]]
    assert 0.15 < sum(new) / len(new) < 0.35


def test_the_seed_decides_everything() -> None:
    assert plan("legal", 5, SIZES) == plan("legal", 5, SIZES)
    assert plan("legal", 5, SIZES) != plan("legal", 6, SIZES)


def test_the_size_of_training_leaves_the_other_splits_alone() -> None:
    large = plan("medical", 5, SIZES)
    small = plan("medical", 5, SIZES | {"train": 100})
    assert [small[split] for split in ("dev", "test", "demo")] == [
        large[split] for split in ("dev", "test", "demo")
    ]


def test_poor_templates_keep_their_training_examples() -> None:
    grammar = load_grammar("general")
    poor = [t for t in grammar.templates if 1 < grammar.variety(t) < HOLD_OUT_FROM]
    trained = {one.text for one in plan("general", 5, SIZES)["train"]}
    assert poor
    assert "open the door please" in trained
    for template in poor:
        start = template.split("{")[0]
        assert any(text.startswith(start) for text in trained)


def test_demo_has_short_and_long_utterances() -> None:
    demo = plan("general", 5, SIZES)["demo"]
    assert sum(len(one.sentences) >= 5 for one in demo) == 2
    assert sum(len(one.text.split()) <= 4 for one in demo) >= 3


def test_too_many_held_out_sentences_are_refused() -> None:
    with pytest.raises(ValueError, match="too small to hold out 90000"):
        plan("legal", 5, SIZES | {"test": 89_940})
