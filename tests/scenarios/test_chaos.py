"""`make chaos`, shorter: every kind of process is killed at least once."""

from __future__ import annotations

import pytest

from tests.scenarios.chaos import Victim, make_plan, run_chaos

KILLS: dict[Victim, int] = {"worker": 2, "model": 1, "router": 1, "broker": 1}


@pytest.mark.kafka
@pytest.mark.ray
@pytest.mark.slow
def test_every_record_is_transcribed_exactly_once_whatever_dies() -> None:
    figures, faults = run_chaos(make_plan(7, 300, KILLS), "stand-in", brokers=1, say=print)
    assert faults == []
    assert figures["records"] == 300
    assert figures["lost"] == figures["duplicated"] == figures["dead_lettered"] == 0
    assert (figures["worker_kills"], figures["replica_kills"]) == (2, 2)
    assert figures["broker_restarts"] == 1


@pytest.mark.kafka
@pytest.mark.ray
@pytest.mark.slow
def test_an_ensemble_goes_on_without_members_that_die_in_mid_stream() -> None:
    plan = make_plan(1, 240, {"model": 3})
    figures, faults = run_chaos(plan, "stand-in", brokers=1, say=print, ensemble=True)
    assert faults == []
    assert figures["lost"] == figures["duplicated"] == figures["dead_lettered"] == 0
    assert figures["replica_kills"] == 3
    assert 0 < figures["without_a_member"] < 240


@pytest.mark.kafka
@pytest.mark.ray
@pytest.mark.slow
def test_workers_without_ray_are_exactly_once_too() -> None:
    plan = make_plan(4, 200, {"worker": 1, "model": 2, "router": 1})
    figures, faults = run_chaos(plan, "stand-in", brokers=1, say=print, http=True)
    assert faults == []
    assert figures["lost"] == figures["duplicated"] == figures["dead_lettered"] == 0
    assert (figures["worker_kills"], figures["replica_kills"]) == (1, 3)


def test_a_plan_follows_from_its_seed_alone() -> None:
    plan = make_plan(3, 2000, KILLS)
    assert plan == make_plan(3, 2000, KILLS)
    assert plan != make_plan(4, 2000, KILLS)


def test_a_plan_has_all_deaths_while_records_are_left() -> None:
    plan = make_plan(5, 2000, KILLS)
    victims = [death.victim for death in plan.deaths]
    assert {victim: victims.count(victim) for victim in KILLS} == KILLS
    moments = [death.after for death in plan.deaths]
    assert moments == sorted(moments)
    assert moments[-1] < 2000
