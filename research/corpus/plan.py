"""Plan the corpus from a seed: the sentences and voices of each split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from research.corpus.grammar import Grammar, load_grammar
from research.corpus.voices import HELD_OUT_VOICES, TRAINING_VOICES

#: Utterances per domain and split. `demo` is what the project ships.
SIZES = {
    "general": {"train": 8000, "dev": 100, "test": 240, "demo": 40},
    "medical": {"train": 5000, "dev": 100, "test": 240, "demo": 40},
    "legal": {"train": 5000, "dev": 100, "test": 240, "demo": 40},
}
#: Fewest sentences that a template can make for some of them to be held out: of a template with
#: fewer, too few examples would be left for training.
HOLD_OUT_FROM = 100
#: Share of utterances of random words in training, so that models do not memorise the templates.
RANDOM_WORDS = 0.15
#: Share of training utterances with several sentences and pauses.
LONG = 0.04
#: Share of held-out voices in test and demo.
HELD_OUT_SHARE = 0.25


@dataclass(frozen=True)
class Utterance:
    """One utterance to render.

    Attributes:
        id: `domain-split-number`.
        domain: name of the grammar.
        sentences: spoken one after another with pauses.
        voice: as in `voices.Prompt`.
        tempo: as in `voices.Prompt`.
        pitch: as in `voices.Prompt`.
        seed: seed of the recording conditions.
    """

    id: str
    domain: str
    sentences: tuple[str, ...]
    voice: str
    tempo: float
    pitch: float
    seed: int

    @property
    def text(self) -> str:
        """The reference transcript."""
        return " ".join(self.sentences)


def plan(domain: str, seed: int, sizes: dict[str, int] | None = None) -> dict[str, list[Utterance]]:
    """Plan the utterances of each split; the same arguments give the same utterances.

    No sentence of `test` is in `train` or `dev`, none of `dev` in `train`; `demo` shares its
    sentences with `test`, except for a few short ones that every split has.

    Args:
        domain: name of the grammar.
        seed: seed of all random choices.
        sizes: utterances per split; default `SIZES[domain]`.

    Raises:
        ValueError: the grammar makes too few sentences to hold out so many.
    """
    sizes = sizes or SIZES[domain]
    grammar = load_grammar(domain)
    # one generator per split: a change of one split's size does not change the others
    held_out = _held_out(grammar, sizes["dev"] + sizes["test"], Random(f"{seed} {domain} text"))
    dev, test = held_out[: sizes["dev"]], held_out[sizes["dev"] :]
    rngs = {split: Random(f"{seed} {domain} {split}") for split in sizes}
    texts: dict[str, list[tuple[str, ...]]] = {
        "train": _training_texts(grammar, sizes["train"], frozenset(held_out), rngs["train"]),
        "dev": [(sentence,) for sentence in dev],
        "test": [(sentence,) for sentence in test],
        "demo": _demo_texts(grammar, sizes["demo"], test, rngs["demo"]),
    }
    return {
        split: [
            _utterance(f"{domain}-{split}-{i:05d}", domain, sentences, split, rngs[split])
            for i, sentences in enumerate(texts[split])
        ]
        for split in sizes
    }


def _held_out(grammar: Grammar, count: int, rng: Random) -> list[str]:
    templates = [t for t in grammar.templates if grammar.variety(t) >= HOLD_OUT_FROM]
    if count * 10 > sum(grammar.variety(t) for t in templates):
        raise ValueError(f"the grammar is too small to hold out {count} sentences")
    held_out: dict[str, None] = {}  # an ordered set
    taken = dict.fromkeys(templates, 0)
    while len(held_out) < count:
        template = rng.choice(templates)
        sentence = grammar.fill(template, rng)
        if sentence not in held_out and taken[template] * 10 < grammar.variety(template):
            held_out[sentence] = None
            taken[template] += 1
    return list(held_out)


def _training_texts(
    grammar: Grammar, count: int, held_out: frozenset[str], rng: Random
) -> list[tuple[str, ...]]:
    def sentence() -> str:
        while True:
            text = grammar.sample(rng)[1]
            if text not in held_out:
                return text

    texts: list[tuple[str, ...]] = []
    for _ in range(count):
        kind = rng.random()
        if kind < RANDOM_WORDS:
            texts.append((grammar.random_words(rng),))
        elif kind < RANDOM_WORDS + LONG:
            texts.append(tuple(sentence() for _ in range(rng.randint(2, 4))))
        else:
            texts.append((sentence(),))
    return texts


def _demo_texts(
    grammar: Grammar, count: int, test: Sequence[str], rng: Random
) -> list[tuple[str, ...]]:
    """Mostly test sentences; a tenth are short sentences of training, a twentieth 15-30 s long."""
    short = [t for t in grammar.templates if grammar.variety(t) < HOLD_OUT_FROM]
    short = sorted(short, key=len)[:3]
    familiar = [(grammar.fill(rng.choice(short), rng),) for _ in range(count // 10)]
    long = [tuple(rng.sample(list(test), 6)) for _ in range(count // 20)]
    single = [(sentence,) for sentence in test[: count - len(familiar) - len(long)]]
    texts = single + familiar + long
    rng.shuffle(texts)
    return texts


def _utterance(
    name: str, domain: str, sentences: tuple[str, ...], split: str, rng: Random
) -> Utterance:
    held_out = split in ("test", "demo") and rng.random() < HELD_OUT_SHARE
    shares, voices = zip(*(HELD_OUT_VOICES if held_out else TRAINING_VOICES), strict=True)
    return Utterance(
        id=name,
        domain=domain,
        sentences=sentences,
        voice=rng.choice(rng.choices(voices, shares)[0]),
        tempo=round(rng.uniform(0.92, 1.12), 3),
        pitch=round(rng.uniform(0.85, 1.15), 3),
        seed=rng.getrandbits(32),
    )
