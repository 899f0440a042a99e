from __future__ import annotations

import random

from workers.stream.backoff import Backoff
from workers.stream.circuit_breaker import BreakerState, CircuitBreaker


def a_breaker() -> CircuitBreaker:
    return CircuitBreaker(3, Backoff(1.0, 64.0, random.Random(7)))


def state_of(breaker: CircuitBreaker) -> BreakerState:
    return breaker.state


def opened() -> CircuitBreaker:
    breaker = a_breaker()
    for _ in range(3):
        breaker.failed(now=0.0)
    return breaker


def test_opens_after_failures_in_a_row_only() -> None:
    breaker = a_breaker()
    for _ in range(5):
        breaker.failed(now=0.0)
        breaker.failed(now=0.0)
        breaker.succeeded()
    assert state_of(breaker) is BreakerState.CLOSED
    for _ in range(3):
        breaker.failed(now=0.0)
    assert state_of(breaker) is BreakerState.OPEN


def test_probes_only_after_a_pause() -> None:
    breaker = opened()
    wait = breaker.wait_s(now=0.0)
    assert 0.0 < wait <= 1.0
    assert not breaker.probe_due(now=0.0)
    assert breaker.probe_due(now=wait)


def test_a_bad_probe_keeps_it_open_and_a_good_one_admits_a_trial() -> None:
    breaker = opened()
    breaker.probed(False, now=2.0)
    assert state_of(breaker) is BreakerState.OPEN
    assert breaker.wait_s(now=2.0) > 0.0
    breaker.probed(True, now=5.0)
    assert state_of(breaker) is BreakerState.HALF_OPEN


def test_only_a_good_trial_closes_it() -> None:
    breaker = opened()
    breaker.probed(True, now=1.0)
    breaker.failed(now=1.0)
    assert state_of(breaker) is BreakerState.OPEN
    breaker.probed(True, now=9.0)
    breaker.succeeded()
    assert state_of(breaker) is BreakerState.CLOSED


def test_the_pauses_grow_while_it_stays_open() -> None:
    longest = []
    for seed in range(200):
        breaker = CircuitBreaker(1, Backoff(1.0, 64.0, random.Random(seed)))
        breaker.failed(now=0.0)
        for _ in range(5):
            breaker.probed(False, now=0.0)
        longest.append(breaker.wait_s(now=0.0))
    assert 16.0 < max(longest) <= 32.0  # the sixth pause: 1 s * 2^5


def test_late_failures_of_old_calls_do_not_reopen_a_closed_breaker_at_once() -> None:
    breaker = opened()
    breaker.probed(True, now=1.0)
    breaker.succeeded()
    breaker.failed(now=1.0)
    assert state_of(breaker) is BreakerState.CLOSED
