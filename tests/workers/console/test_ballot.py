"""Votes on pairs."""

from __future__ import annotations

from workers.console.trial.ballot import Ballot, Tally


def test_a_vote_is_for_what_was_shown_in_its_place() -> None:
    ballot = Ballot()
    ballot.count("b", "a", "first")
    ballot.count("a", "b", "first")
    ballot.count("a", "b", "second")
    ballot.count("a", "c", "neither")
    assert ballot.tallies == [Tally("a", "b", 1, 2, 0), Tally("a", "c", 0, 0, 1)]
