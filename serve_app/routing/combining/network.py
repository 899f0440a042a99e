"""Build the word transition network of several hypotheses, aligned one after the other (ROVER).

J. G. Fiscus, "A post-processing system to yield reduced word error rates: Recognizer Output Voting
Error Reduction (ROVER)", 1997. The first hypothesis is a chain of slots with one word each. Every
further one is aligned with the network so far at the least cost, and adds its word to each slot, or
a NULL if it has none there; an inserted word makes a new slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

#: Costs in thousandths, as in NIST's `rover`: an unaligned word; a word aligned with another word;
#: a word aligned with a slot that has a NULL; and a slot with a NULL that gets no word.
_UNPAIRED, _OTHER, _AGAINST_NULL, _NULL_SLOT = 3000, 4000, 1000, 1

#: Cost of aligning a word with a slot where that is not allowed.
_FORBIDDEN = 1 << 30

#: A word of a slot, or None for a NULL.
Arc = str | None
Costs = NDArray[np.int32]
#: Whether a word is too far from a slot to be aligned with it, [slots, words].
Apart = NDArray[np.bool_]
#: Start and end of a word, in seconds.
Span = tuple[float, float]


@dataclass
class Slot:
    """A slot of the network: the words that hypotheses have at one place.

    Attributes:
        arcs: for each hypothesis that was aligned so far, in order, the index of its word; None for
            a NULL.
        words: the distinct words in the order in which they were added; None for a NULL.
        span: from the earliest start to the latest end of its words that have times; None if none
            has.
    """

    arcs: list[int | None]
    words: list[Arc] = field(default_factory=list)
    span: Span | None = None

    def add(self, word: Arc, span: Span | None = None) -> None:
        """Add a word, or a NULL, to the distinct words and to the span.

        Args:
            word: the word; None for a NULL.
            span: its times.
        """
        if word not in self.words:
            self.words.append(word)
        if span is not None:
            start, end = self.span or span
            self.span = (min(span[0], start), max(span[1], end))


#: Slots and the indices of their words, in order; one of the two may be None.
Alignment = list[tuple[Slot | None, int | None]]


def build_network(
    hypotheses: Sequence[Sequence[str]],
    spans: Sequence[Sequence[Span] | None] | None = None,
    max_gap_s: float = 0.0,
) -> list[Slot]:
    """Align hypotheses into a network; takes about 0.2 ms each.

    Ties between alignments of the same cost are broken as in `rover`: a substitution is preferred
    to an unaligned word, then an insertion to a deletion.

    Args:
        hypotheses: the words of each, in the form in which they are compared.
        spans: the times of each word; None for a hypothesis without. With them, words are aligned
            with each other only if there are at most `max_gap_s` seconds between them.
        max_gap_s: used with `spans` only.
    """
    first, *others = hypotheses
    known = [None] * len(hypotheses) if spans is None else spans
    begin = known[0]
    slots = [
        Slot([index], [word], begin[index] if begin is not None else None)
        for index, word in enumerate(first)
    ]
    for number, (words, times) in enumerate(zip(others, known[1:], strict=True), 1):
        slots = _merge(slots, words, number, times, max_gap_s)
    return slots


def _merge(
    slots: Sequence[Slot],
    words: Sequence[str],
    merged: int,
    spans: Sequence[Span] | None,
    max_gap_s: float,
) -> list[Slot]:
    """Align one more hypothesis with `slots`, which hold `merged` hypotheses."""
    apart = _apart(slots, spans, max_gap_s)
    path = _align(slots, words, apart)
    network: list[Slot] = []
    for slot, word in path:
        span = spans[word] if spans is not None and word is not None else None
        if slot is not None:
            slot.arcs.append(word)
            slot.add(None if word is None else words[word], span)
            network.append(slot)
        elif word is not None:
            network.append(Slot([None] * merged + [word], [words[word], None], span))
    return network


def _apart(slots: Sequence[Slot], spans: Sequence[Span] | None, max_gap_s: float) -> Apart | None:
    """What is too far from each other; None if nothing is known to be."""
    if spans is None or not spans or not slots:
        return None
    # no word is too far from a slot without times: comparisons with NaN are false
    of_slots = np.array([slot.span or (np.nan, np.nan) for slot in slots], dtype=float)
    starts, ends = np.array(spans, dtype=float).T
    gap = np.maximum(starts - of_slots[:, 1:], of_slots[:, :1] - ends)
    return np.asarray(gap > max_gap_s)


def _align(slots: Sequence[Slot], words: Sequence[str], apart: Apart | None) -> Alignment:
    """Pairs of a slot and the index of a word, in order; one of the two may be None.

    What `_search` finds, without a search where it is known.
    """
    if _in_step(slots, words, apart):
        return [(slot, place) for place, slot in enumerate(slots)]
    rows, end = len(slots), len(words)
    # what both end with is paired: no other path is cheaper, nor comes before it among equals
    while rows and end and slots[rows - 1].words[0] == words[end - 1]:
        if None in slots[rows - 1].words or (apart is not None and apart[rows - 1, end - 1]):
            break
        rows, end = rows - 1, end - 1
    before = apart[:rows, :end] if apart is not None else None
    path = _search(slots[:rows], words[:end], before)
    path.extend(zip(slots[rows:], range(end, len(words)), strict=True))
    return path


def _in_step(slots: Sequence[Slot], words: Sequence[str], apart: Apart | None) -> bool:
    """Whether each word belongs into its slot, as nothing else costs as little.

    Of as many words as slots, any other alignment leaves a word and a slot unpaired.
    """
    if len(slots) != len(words) or (apart is not None and apart.diagonal().any()):
        return False
    cost, left = 0, _UNPAIRED
    for slot, word in zip(slots, words, strict=True):
        left = min(left, _leave(slot))
        if word not in slot.words:
            cost += _AGAINST_NULL if None in slot.words else _OTHER
    return cost < _UNPAIRED + left


def _search(slots: Sequence[Slot], words: Sequence[str], apart: Apart | None) -> Alignment:
    least: list[list[int]] = _least_costs(slots, words, apart).tolist()
    path: Alignment = []
    place = len(words)
    for row in range(len(slots), 0, -1):
        slot = slots[row - 1]
        never = apart[row - 1] if apart is not None else None
        entry, paired = _entry(slot, words, least[row], least[row - 1], never, place)
        path += [(None, extra) for extra in range(place - 1, entry - 1, -1)]
        place = entry - 1 if paired else entry
        path.append((slot, place if paired else None))
    path += [(None, extra) for extra in range(place - 1, -1, -1)]
    path.reverse()
    return path


def _leave(slot: Slot) -> int:
    """What it costs if a slot gets no word."""
    return _NULL_SLOT if None in slot.words else _UNPAIRED


def _least_costs(slots: Sequence[Slot], words: Sequence[str], apart: Apart | None) -> Costs:
    """Least cost of aligning the first slots with the first words, [slots + 1, words + 1].

    What the words and the slots cost if none is paired is subtracted, so that to leave one out
    costs nothing: no cost is higher than the one before it, or the one above it.
    """
    places: dict[Arc, list[int]] = {}
    for place, word in enumerate(words):
        places.setdefault(word, []).append(place)
    pairs = np.empty((len(slots), len(words)), np.int32)
    equal: list[tuple[int, int, int]] = []
    others: list[int] = []
    for row, slot in enumerate(slots):
        saved = -_UNPAIRED - _leave(slot)
        others.append(saved + (_AGAINST_NULL if None in slot.words else _OTHER))
        equal += [(row, place, saved) for arc in slot.words for place in places.get(arc, ())]
    pairs[:] = np.array(others, np.int32)[:, None]
    if equal:
        rows, columns, costs_of = zip(*equal, strict=True)
        pairs[rows, columns] = costs_of
    if apart is not None:
        pairs[apart] = _FORBIDDEN
    least = np.zeros((len(slots) + 1, len(words) + 1), np.int32)
    # the rows of whole arrays, as slices of each row would take longer than the sums
    for above, before, pair, costs in zip(
        least[:-1, 1:], least[:-1, :-1], pairs, least[1:, 1:], strict=True
    ):
        pair += before
        np.minimum(above, pair, out=costs)
        np.minimum.accumulate(costs, out=costs)
    return least


def _entry(
    slot: Slot,
    words: Sequence[str],
    costs: Sequence[int],
    before: Sequence[int],
    never: NDArray[np.bool_] | None,
    place: int,
) -> tuple[int, bool]:
    """Where the cheapest path to `place` enters a slot, and whether it pairs a word with the slot.

    The words between the two places are insertions. As in rover, the path is over the first word of
    the slot by which the cost is the least. It pairs that with a word where it can, after the
    fewest insertions; else it leaves the slot without a word, after the most.
    """
    cost = costs[place]
    saved = -_UNPAIRED - _leave(slot)
    has_null = None in slot.words
    for arc in slot.words:
        other = saved + (_AGAINST_NULL if arc is None else _OTHER)
        left = None
        at = place
        while at >= 0 and costs[at] == cost:
            if at and (never is None or not never[at - 1]):
                pair = saved if words[at - 1] == arc else other
                if before[at - 1] + pair == cost:
                    return at, True
            if before[at] == cost and (arc is None) == has_null:
                left = at
            at -= 1
        if left is not None:
            return left, False
    raise AssertionError("no word of the slot has the least cost")
