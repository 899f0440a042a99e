"""Write the words that won a vote, as the members spell them."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from schemas.transcript import Word
from serve_app.routing.combining.conventions import Spoken
from serve_app.routing.combining.hypotheses import Candidate
from serve_app.routing.combining.vote import Winner


def written(
    ranked: Sequence[Candidate],
    heard: Sequence[Spoken],
    winners: Sequence[Winner],
    sure_of: Sequence[Sequence[float]],
    spelling: Sequence[str],
) -> list[Word]:
    """The words of a vote, each as the first member in order spells it that says it.

    A word for which others have several ("25") is written only where all of these have won, one
    after the other; else they are.

    Args:
        ranked: the candidates, the most confident first.
        heard: how their words were compared.
        winners: of the vote, in order.
        sure_of: confidence of each key of each candidate.
        spelling: members that come first in the order.
    """
    order = {model: number for number, model in enumerate(spelling)}
    words: list[Word] = []
    at = 0
    while at < len(winners):
        voters: Sequence[tuple[int, int]] = winners[at].places
        if order:
            voters = sorted(voters, key=lambda e: order.get(ranked[e[0]].model, len(order)))
        whole = next(
            (v for v in voters if _all_won(heard[v[0]].keys_of(v[1]), winners, at, *v)), None
        )
        voter, key = whole or voters[0]
        if whole is None:
            count, word = 1, timed_part(ranked[voter], heard[voter], key)
        else:
            count = len(heard[voter].keys_of(key))
            word = ranked[voter].words[heard[voter].places[key]]
        won = winners[at : at + count]
        if not word.end:
            word = _timed_as(word, ranked, heard, won)
        sure = min([max([sure_of[one][place] for one, place in each.places]) for each in won])
        words.append(Word(word.word, word.start, word.end, round(sure, 4), word.channel))
        at += count
    return words


def timed_part(one: Candidate, heard: Spoken, key: int) -> Word:
    """The part of a word that one of its keys stands for: an equal part of its time."""
    keys = heard.keys_of(key)
    word = one.words[heard.places[key]]
    if len(keys) == 1:
        return word
    step = (word.end - word.start) / len(keys)
    start = word.start + (key - keys.start) * step
    return replace(word, word=heard.keys[key], start=round(start, 3), end=round(start + step, 3))


def _all_won(keys: range, winners: Sequence[Winner], at: int, voter: int, key: int) -> bool:
    """Whether all `keys` of a word of `voter` have won, the first one, `key`, at `at`."""
    if len(keys) == 1:
        return True
    some = winners[at : at + len(keys)]
    return (
        key == keys.start
        and len(some) == len(keys)
        and all((voter, each) in won.places for each, won in zip(keys, some, strict=True))
    )


def _timed_as(
    word: Word, ranked: Sequence[Candidate], heard: Sequence[Spoken], won: Sequence[Winner]
) -> Word:
    """`word` with the times of the members that have some for what has `won`, if there are."""
    for voter, key in won[0].places:
        last = next((key for one, key in won[-1].places if one == voter), None)
        if last is None:
            continue
        begin = timed_part(ranked[voter], heard[voter], key)
        end = timed_part(ranked[voter], heard[voter], last)
        if end.end:
            return replace(word, start=begin.start, end=end.end)
    return word
