from __future__ import annotations

import pytest

from serve_app.registry.errors import ConflictError
from serve_app.registry.registry import Registry
from serve_app.registry.store import Store
from serve_app.rollout.evidence import Evidence
from serve_app.rollout.records import Rollouts
from tests.serve_app.rollout.plans import plan


@pytest.fixture
def rollouts(store: Store) -> Rollouts:
    return Rollouts(store)


def test_there_is_one_to_an_alias_at_a_time(rollouts: Rollouts) -> None:
    assert rollouts.last("m", "production") is None
    first = rollouts.begin(plan(number=0, shadow=0.3))
    assert first.number == 1
    found = rollouts.last("m", "production")
    assert found is not None
    assert (found.plan, found.events, found.end, found.paused) == (first, [], None, None)
    with pytest.raises(ConflictError, match="`chorus rollout abort general` ends it"):
        rollouts.begin(plan(number=0))
    rollouts.add(first, "aborted", by="ann")
    assert rollouts.begin(plan(number=0)).number == 2


def test_what_is_done_to_one_is_recorded(rollouts: Rollouts) -> None:
    first = rollouts.begin(plan(number=0))
    rollouts.add(first, "paused", by="ann", why="lunch")
    found = rollouts.last("m", "production")
    assert found is not None
    assert found.paused is not None
    assert (found.paused.by, found.paused.why) == ("ann", "lunch")
    rollouts.add(first, "resumed", by="bob")
    rollouts.add(first, "rolled_back", by="chorus", why="worse")
    found = rollouts.last("m", "production")
    assert found is not None
    assert [each.kind for each in found.events] == ["paused", "resumed", "rolled_back"]
    assert found.end is found.events[-1]
    with pytest.raises(ConflictError, match="rollout 1 to m@production has ended: rolled_back"):
        rollouts.add(first, "promoted", by="ann")


def test_of_two_who_begin_at_once_one_is_told(
    store: Store, rollouts: Rollouts, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Rollouts(store)
    monkeypatch.setattr(other, "last", lambda name, alias: None)  # what it saw a moment before
    rollouts.begin(plan(number=0))
    with pytest.raises(ConflictError, match="somebody else has begun"):
        other.begin(plan(number=0))


def test_evidence_is_kept_and_the_older_is_removed(store: Store, rollouts: Rollouts) -> None:
    first = rollouts.begin(plan(number=0))
    assert rollouts.evidence(first) == (0, Evidence())
    for number in range(1, 6):
        rollouts.store_evidence(first, number, Evidence(records=number))
    assert rollouts.evidence(first) == (5, Evidence(records=5))
    kept = [key for key in store.keys("rollouts") if "/evidence/" in key]
    assert [key[-11:] for key in kept] == ["000004.json", "000005.json"]
    with pytest.raises(FileExistsError):
        rollouts.store_evidence(first, 5, Evidence(records=7))


def test_each_alias_has_its_own(store: Store, rollouts: Rollouts) -> None:
    rollouts.begin(plan(number=0))
    assert rollouts.last("m", "staging") is None
    assert [each.plan.alias for each in rollouts.all()] == ["production"]
    assert Registry(store).names() == []  # they are no models
