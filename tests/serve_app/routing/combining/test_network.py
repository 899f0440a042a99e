from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.routing.combining import network
from serve_app.routing.combining.network import build_network


def network_of(*texts: str) -> list[list[str]]:
    """The network as each slot's words, of each hypothesis in order, "-" where it has none."""
    hypotheses = [text.split() for text in texts]
    return [
        [
            "-" if place is None else hypotheses[index][place]
            for index, place in enumerate(slot.arcs)
        ]
        for slot in build_network(hypotheses)
    ]


def test_a_single_hypothesis_is_a_chain_of_its_words() -> None:
    assert network_of("a b a") == [["a"], ["b"], ["a"]]


def test_the_same_words_share_their_slots() -> None:
    assert network_of("a b c", "a b c", "a b c") == [["a"] * 3, ["b"] * 3, ["c"] * 3]


def test_a_word_heard_otherwise_is_an_alternative_in_the_same_slot() -> None:
    assert network_of("a b c", "a x c") == [["a", "a"], ["b", "x"], ["c", "c"]]


def test_a_missing_word_is_a_null() -> None:
    assert network_of("a b c", "a c") == [["a", "a"], ["b", "-"], ["c", "c"]]


def test_a_word_too_many_in_the_middle_begins_a_slot() -> None:
    assert network_of("a c", "a b c") == [["a", "a"], ["-", "b"], ["c", "c"]]


def test_words_too_many_at_the_start_and_the_end_begin_slots_there() -> None:
    assert network_of("b", "x a b") == [["-", "x"], ["-", "a"], ["b", "b"]]
    assert network_of("b", "b c d") == [["b", "b"], ["-", "c"], ["-", "d"]]
    assert network_of("b", "x b", "b c") == [["-", "x", "-"], ["b"] * 3, ["-", "-", "c"]]


def test_a_further_hypothesis_joins_the_slot_that_another_began() -> None:
    assert network_of("a c", "a b c", "a b c") == [["a"] * 3, ["-", "b", "b"], ["c"] * 3]


def test_a_word_that_nobody_else_has_goes_where_another_has_none() -> None:
    assert network_of("a c", "a b c", "a x c") == [["a"] * 3, ["-", "b", "x"], ["c"] * 3]


def test_a_word_is_found_again_in_any_hypothesis_of_the_slot() -> None:
    assert network_of("a b", "a x", "x") == [["a", "a", "-"], ["b", "x", "x"]]


def test_two_words_without_partners_are_dearer_than_one_against_the_other() -> None:
    assert network_of("a", "b") == [["a", "b"]]


def test_words_in_common_are_worth_more_than_pairs_of_others() -> None:
    assert network_of("a b", "b c") == [["a", "-"], ["b", "b"], ["-", "c"]]


def test_of_equal_alignments_the_one_with_the_later_pair_is_taken() -> None:
    assert network_of("a a", "a") == [["a", "-"], ["a", "a"]]
    assert network_of("a", "a a") == [["-", "a"], ["a", "a"]]


def test_an_empty_hypothesis_has_no_word_anywhere() -> None:
    assert network_of("a b", "", "a") == [["a", "-", "a"], ["b", "-", "-"]]


def test_an_empty_first_hypothesis_gets_the_words_of_the_next() -> None:
    assert network_of("", "a b", "b") == [["-", "a", "-"], ["-", "b", "b"]]


def test_hypotheses_that_are_all_empty_make_no_slot() -> None:
    assert network_of("") == []
    assert network_of("", "", "") == []


def test_words_of_a_slot_are_kept_once_in_the_order_in_which_they_came() -> None:
    assert [slot.words for slot in build_network([["a"], ["b"], [], ["a"]])] == [["a", "b", None]]
    assert [slot.words for slot in build_network([[], ["a"], ["b"]])] == [["a", None, "b"]]


words = st.lists(st.sampled_from("abc"), max_size=8)


@given(st.lists(words, min_size=1, max_size=5))
def test_every_slot_has_an_arc_of_each_hypothesis_and_no_word_is_lost_or_moved(
    hypotheses: list[list[str]],
) -> None:
    slots = build_network(hypotheses)
    for slot in slots:
        assert len(slot.arcs) == len(hypotheses)
        assert any(place is not None for place in slot.arcs)
        arcs = [
            None if place is None else words[place]
            for place, words in zip(slot.arcs, hypotheses, strict=True)
        ]
        assert len(slot.words) == len(set(slot.words))
        assert set(slot.words) == set(arcs)
    for index, words in enumerate(hypotheses):
        places = [slot.arcs[index] for slot in slots if slot.arcs[index] is not None]
        assert places == list(range(len(words)))


@given(words, words)
def test_two_hypotheses_are_aligned_at_the_least_cost(first: list[str], second: list[str]) -> None:
    cost = 0
    for slot in build_network([first, second]):
        one, other = slot.arcs
        if one is None or other is None:
            cost += 3
        elif first[one] != second[other]:
            cost += 4
    assert cost == least_cost(first, second)


def least_cost(first: list[str], second: list[str]) -> int:
    """By the textbook: 3 for a word without a partner, 4 for a pair of different ones."""
    row = [3 * place for place in range(len(second) + 1)]
    for word in first:
        diagonal, row[0] = row[0], row[0] + 3
        for place, heard in enumerate(second, 1):
            pair = diagonal + (0 if word == heard else 4)
            diagonal = row[place]
            row[place] = min(pair, row[place] + 3, row[place - 1] + 3)
    return row[-1]


def timed(text: str) -> tuple[list[str], list[tuple[float, float]]]:
    """`a0 b2.5`: words of half a second with the moments at which they begin."""
    pairs = [(each[0], float(each[1:])) for each in text.split()]
    return [word for word, _ in pairs], [(start, start + 0.5) for _, start in pairs]


def timed_network(*texts: str, gap: float = 0.2) -> list[list[str]]:
    words, spans = zip(*map(timed, texts), strict=True)
    return [
        ["-" if place is None else words[index][place] for index, place in enumerate(slot.arcs)]
        for slot in build_network(words, spans, gap)
    ]


def test_words_that_are_apart_in_time_do_not_stand_against_each_other() -> None:
    # without times the second's words are taken for mistakes in the first's
    assert network_of("a b", "c d") == [["a", "c"], ["b", "d"]]
    assert timed_network("a0 b1", "c5 d6") == [["a", "-"], ["b", "-"], ["-", "c"], ["-", "d"]]
    # nor is a word said twice the same place
    assert timed_network("a0", "a5 b6") == [["a", "-"], ["-", "a"], ["-", "b"]]
    assert timed_network("a0", "a0.6", gap=0.2) == [["a", "a"]]


@given(
    st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9))), min_size=1, max_size=4)
)
def test_with_times_too_no_word_is_lost_and_none_is_moved(
    drawn: list[list[tuple[str, int]]],
) -> None:
    words = [[word for word, _ in each] for each in drawn]
    spans = [[(float(s), s + 0.5) for s in sorted(s for _, s in each)] for each in drawn]
    network = build_network(words, spans, 0.0)
    for index, each in enumerate(words):
        places = [slot.arcs[index] for slot in network]
        assert [place for place in places if place is not None] == list(range(len(each)))
    if len(drawn) == 2:
        for slot in network:
            a, b = slot.arcs
            if a is not None and b is not None:
                assert abs(spans[0][a][0] - spans[1][b][0]) <= 0.5


@st.composite
def with_times(draw: st.DrawFn) -> tuple[list[list[str]], list[list[tuple[float, float]] | None]]:
    """Hypotheses that have much in common, some of them with times."""
    base = draw(st.lists(st.sampled_from("abc"), max_size=8))
    hypotheses, spans = [], []
    for _ in range(draw(st.integers(2, 4))):
        words = list(base)
        for _ in range(draw(st.integers(0, 3))):
            at = draw(st.integers(0, len(words)))
            words[at : at + draw(st.integers(0, 1))] = draw(
                st.lists(st.sampled_from("abx"), max_size=1)
            )
        begin = draw(st.sampled_from([0.0, 0.0, 0.7]))
        times = [(begin + 0.5 * place, begin + 0.5 * place + 0.4) for place in range(len(words))]
        hypotheses.append(words)
        spans.append(times if draw(st.booleans()) else None)
    return hypotheses, spans


@given(with_times())
def test_what_is_paired_without_a_search_is_what_the_search_finds(
    heard: tuple[list[list[str]], list[list[tuple[float, float]] | None]],
) -> None:
    hypotheses, spans = heard
    for known in (None, spans):
        short = build_network(hypotheses, known, 0.3)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(network, "_align", network._search)
            assert short == build_network(hypotheses, known, 0.3)
