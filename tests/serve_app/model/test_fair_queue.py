from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.model.fair_queue import FairQueue


def in_pairs(items: list[str]) -> list[list[str]]:
    return [items[first : first + 2] for first in range(0, len(items), 2)]


def one_by_one(items: list[str]) -> list[list[str]]:
    return [[item] for item in items]


def run(queue: FairQueue[str], times: int, seconds: float = 1.0) -> str:
    """Take so many batches of that cost; the first letters of what was in them."""
    classes = ""
    for _ in range(times):
        classes += queue.take()[0][0]
        queue.charge(seconds)
    return classes


def test_interactive_items_go_ahead_of_bulk_that_is_planned() -> None:
    queue = FairQueue(one_by_one, interactive_share=0.75)
    queue.put([f"b{index}" for index in range(10)], interactive=False)
    assert run(queue, 3) == "bbb"
    queue.put(["i"], interactive=True)
    assert run(queue, 8) == "ibbbbbbb"


def test_interactive_items_that_wait_together_share_a_batch() -> None:
    queue = FairQueue(in_pairs, interactive_share=0.75)
    queue.put(["b0", "b1"], interactive=False)
    queue.put(["i0"], interactive=True)
    queue.put(["i1"], interactive=True)
    assert [queue.take(), queue.take()] == [["i0", "i1"], ["b0", "b1"]]


def test_a_round_is_planned_once_and_what_comes_later_is_in_the_next() -> None:
    planned: list[list[str]] = []

    def plan(items: list[str]) -> list[list[str]]:
        planned.append(items)
        return in_pairs(items)

    queue = FairQueue(plan, interactive_share=0.75)
    queue.put(["b0", "b1", "b2"], interactive=False)
    assert queue.take() == ["b0", "b1"]
    queue.put(["b3", "b4"], interactive=False)
    queue.put(["b5"], interactive=False)
    assert [queue.take() for _ in range(3)] == [["b2"], ["b3", "b4"], ["b5"]]
    assert planned == [["b0", "b1", "b2"], ["b3", "b4", "b5"]]


@pytest.mark.parametrize(
    ("share", "order"),
    [(0.75, "ibiiibiiibii"), (0.5, "ibibibibibib"), (0.25, "ibbbibbbibbb"), (1.0, "iiiiiiiiiiii")],
)
def test_classes_that_both_wait_get_their_shares(share: float, order: str) -> None:
    queue = FairQueue(one_by_one, interactive_share=share)
    queue.put(["i"] * 20, interactive=True)
    queue.put(["b"] * 20, interactive=False)
    assert run(queue, 12) == order


def test_a_share_is_of_time_not_of_batches() -> None:
    queue = FairQueue(one_by_one, interactive_share=0.5)
    queue.put(["i"] * 20, interactive=True)
    queue.put(["b"] * 20, interactive=False)
    seconds = {"i": 0.0, "b": 0.0}
    for _ in range(20):
        [item] = queue.take()
        cost = 0.25 if item == "i" else 1.0
        queue.charge(cost)
        seconds[item] += cost
    assert seconds["i"] == pytest.approx(seconds["b"], abs=1.25)


def test_the_bulk_saves_nothing_up_while_it_is_idle() -> None:
    queue = FairQueue(one_by_one, interactive_share=0.5)
    queue.put(["i"] * 30, interactive=True)
    run(queue, 20)
    queue.put(["b"] * 10, interactive=False)
    assert run(queue, 6) == "ibibib"


def test_interactive_items_save_no_more_up_than_their_share_of_one_batch() -> None:
    queue = FairQueue(one_by_one, interactive_share=0.5)
    queue.put(["b"] * 30, interactive=False)
    run(queue, 20)
    queue.put(["i"] * 10, interactive=True)
    assert run(queue, 6) == "iibibi"


def test_a_queue_that_was_empty_starts_over() -> None:
    queue = FairQueue(one_by_one, interactive_share=0.5)
    queue.put(["b"], interactive=False)
    queue.put(["i"], interactive=True)
    assert queue.take() == ["i"]
    queue.charge(100.0)
    assert queue.drain() == ["b"]
    assert queue.take() == []
    queue.put(["b"], interactive=False)
    queue.put(["i"], interactive=True)
    assert queue.take() == ["i"]


def test_bulk_that_comes_during_an_interactive_batch_goes_after_what_waits() -> None:
    queue = FairQueue(one_by_one, interactive_share=0.75)
    queue.put(["i"], interactive=True)
    queue.take()
    queue.put(["b"], interactive=False)
    queue.put(["i"], interactive=True)
    queue.charge(5.0)
    assert run(queue, 2) == "ib"


def test_what_is_planned_still_waits() -> None:
    queue = FairQueue(in_pairs, interactive_share=0.75)
    queue.put(["b"] * 5, interactive=False)
    queue.put(["i"], interactive=True)
    assert (queue.waiting(interactive=True), queue.waiting(interactive=False)) == (1, 5)
    queue.take()
    queue.take()
    assert (queue.waiting(interactive=True), queue.waiting(interactive=False)) == (0, 3)
    assert len(queue) == 3


def test_draining_takes_what_is_planned_and_what_is_not() -> None:
    queue = FairQueue(in_pairs, interactive_share=0.75)
    queue.put(["b0", "b1", "b2"], interactive=False)
    queue.take()
    queue.put(["b3"], interactive=False)
    queue.put(["i0"], interactive=True)
    assert sorted(queue.drain()) == ["b2", "b3", "i0"]
    assert len(queue) == 0
    assert queue.take() == []


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        FairQueue(one_by_one, interactive_share=share)


Put = tuple[bool, int]  # interactive, how many
Step = Put | float  # or take a batch of that cost
puts = st.tuples(st.booleans(), st.integers(1, 7))
costs = st.floats(0.01, 10.0)
steps = st.lists(st.one_of(puts, costs, costs, costs), max_size=80)
shares = st.floats(0.05, 1.0)


def never_empty(spent: list[float]) -> list[Step]:
    return [step for cost in spent for step in ((True, 2), (False, 2), cost)]


endless = st.lists(costs, max_size=30).map(never_empty)


class Taken:
    """A batch that was taken, and which classes waited when it was."""

    def __init__(self, batch: list[str], seconds: float, waited: tuple[bool, bool]) -> None:
        self.batch = batch
        self.interactive = batch[0][0] == "i"
        self.seconds = seconds
        self.waited = dict(zip((True, False), waited, strict=True))


def play(queue: FairQueue[str], steps: list[Step]) -> list[Taken]:
    numbers = count()
    taken = []
    for step in steps:
        if isinstance(step, tuple):
            interactive, size = step
            queue.put(
                [f"{'ib'[not interactive]}{next(numbers)}" for _ in range(size)],
                interactive=interactive,
            )
            continue
        waited = (queue.waiting(interactive=True) > 0, queue.waiting(interactive=False) > 0)
        if batch := queue.take():
            queue.charge(step)
            taken.append(Taken(batch, step, waited))
        else:
            assert waited == (False, False)
    return taken


def numbers_of(items: list[str], letter: str) -> list[int]:
    return [int(item[1:]) for item in items if item[0] == letter]


@given(steps=steps, share=shares)
def test_no_item_is_lost_doubled_mixed_or_out_of_order(steps: list[Step], share: float) -> None:
    queue = FairQueue(in_pairs, interactive_share=share)
    taken = play(queue, steps)
    assert all(len({item[0] for item in each.batch}) == 1 for each in taken)
    came_out = [item for each in taken for item in each.batch]
    left = queue.drain()
    for letter in "ib":
        order = numbers_of(came_out, letter)
        assert order == sorted(order)
    total = sum(step[1] for step in steps if isinstance(step, tuple))
    assert sorted(numbers_of(came_out + left, "i") + numbers_of(came_out + left, "b")) == list(
        range(total)
    )


def stretches(taken: list[Taken], interactive: bool) -> Iterator[list[Taken]]:
    """Every run of batches, each of which began while this class waited."""
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            if not taken[last].waited[interactive]:
                break
            yield taken[first : last + 1]


@given(steps=steps | endless, share=shares, waits=st.booleans())
def test_a_class_that_waits_is_never_further_behind_its_share_than_a_batch_of_each(
    steps: list[Step], share: float, waits: bool
) -> None:
    taken = play(FairQueue(in_pairs, interactive_share=share), steps)
    longest = {
        each: max((one.seconds for one in taken if one.interactive is each), default=0.0)
        for each in (True, False)
    }
    bound = (1 - share) * longest[True] + share * longest[False]
    for stretch in stretches(taken, interactive=waits):
        total = sum(each.seconds for each in stretch)
        served = sum(each.seconds for each in stretch if each.interactive is waits)
        assert served >= (share if waits else 1 - share) * total - bound - 1e-9
