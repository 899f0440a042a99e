"""`make soak`, shorter: a leak of more than a few kB a record shows here already."""

from __future__ import annotations

import pytest

from tests.scenarios.soak import Sample, change_pct, growth_pct, run_soak


def test_growth_is_that_of_the_medians_of_the_ends() -> None:
    flat = [Sample(n, n / 10, (1000,)) for n in range(100)]
    assert growth_pct(flat, 0) == 0
    leaking = [Sample(n, n / 10, (1000 + n,)) for n in range(100)]
    assert growth_pct(leaking, 0) == pytest.approx(9, abs=0.5)
    jumpy = [Sample(n, n / 10, (5000 if n in (0, 50, 99) else 1000,)) for n in range(100)]
    assert growth_pct(jumpy, 0) == 0


def test_what_a_record_takes_is_told_of_the_ends() -> None:
    steady = [Sample(n, n / 10, (), cpu_s=n / 100) for n in range(100)]
    assert change_pct(steady, lambda each: each.seconds) == pytest.approx(0)
    slower = [Sample(n, n / 10 + max(0, n - 90) / 10, ()) for n in range(101)]
    assert change_pct(slower, lambda each: each.seconds) == pytest.approx(100)


@pytest.mark.kafka
@pytest.mark.ray
@pytest.mark.slow
def test_memory_stays_flat_and_every_record_comes_out_once() -> None:
    figures, faults = run_soak(4000, say=print)
    assert faults == []
    assert figures["transcribed"] == figures["records"] == 4000
    for process in ("worker", "router", "model"):
        assert figures[f"{process}_rss_growth_pct"] < 25, figures
