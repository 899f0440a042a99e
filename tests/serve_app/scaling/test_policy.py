"""The arithmetic of scaling, and what it does over time to a load that comes and goes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import pairwise
from types import SimpleNamespace
from unittest.mock import patch

import pytest
from ray.serve._private.autoscaling_state import AutoscalingContext  # as Serve applies a policy
from ray.serve.autoscaling_policy import _apply_autoscaling_config
from ray.serve.config import AutoscalingConfig

from serve_app.scaling.policy import (
    replicas_for_audio,
    replicas_for_records,
    replicas_for_requests,
    settled,
)

RTFX = 50.0
CATCH_UP_S = 300.0


def test_what_arrives_and_what_waits_add_up() -> None:
    needed = replicas_for_audio(arriving=100.0, waiting=30_000.0, rtfx=RTFX, catch_up_s=CATCH_UP_S)
    assert needed == pytest.approx(100 / 50 + 30_000 / (50 * 300))
    assert replicas_for_audio(arriving=-1.0, waiting=-1.0, rtfx=RTFX, catch_up_s=1.0) == 0.0
    assert replicas_for_requests(requests=5.0, target=2.0) == 2.5
    assert replicas_for_requests(requests=-0.3, target=2.0) == 0.0  # two averages that differ
    assert replicas_for_records(waiting=5000, per_worker=2000) == 2.5


@pytest.mark.parametrize(
    ("current", "needed", "then"),
    [
        (1, 0.0, 0),  # Serve keeps the least number
        (1, 0.01, 1),
        (3, 3.2, 3),  # within a tenth
        (3, 3.4, 4),
        (3, 1.9, 3),
        (3, 1.7, 2),
        (4, 0.0, 0),
        (0, 0.5, 1),
        (0, 0.0, 0),
    ],
)
def test_small_differences_change_nothing(current: int, needed: float, then: int) -> None:
    assert settled(current, needed) == then


@pytest.mark.parametrize("current", range(1, 30))
def test_what_was_settled_stays(current: int) -> None:
    """One decision leads to no other: for any load, the number that follows is kept."""
    for step in range(400):
        needed = step / 10
        once = settled(current, needed)
        assert settled(once, needed) == once
        assert once * 1.1 >= needed, "it can be done"


class Cluster:
    """Replicas of one model on a clock of its own; Serve's own code decides, as it does there."""

    def __init__(self, *, start_s: float = 30.0, most: int = 20) -> None:
        self._config = AutoscalingConfig(
            min_replicas=1, max_replicas=most, upscale_delay_s=10.0, downscale_delay_s=300.0
        )
        self._most = most
        self._decide = _apply_autoscaling_config(self._policy)
        self._state: dict[str, object] = {}
        self._starting: list[float] = []
        self._start_s = start_s
        self.target = self.running = 1
        self.waiting = 0.0
        self._told: tuple[float, float] = (0.0, 0.0)
        self.targets: list[int] = []

    def _policy(self, context: AutoscalingContext) -> tuple[int, dict[str, object]]:
        arriving, waiting = self._told
        needed = replicas_for_audio(
            arriving=arriving, waiting=waiting, rtfx=RTFX, catch_up_s=CATCH_UP_S
        )
        return settled(context.target_num_replicas, needed), {}

    def run(self, arriving: Callable[[float], float], seconds: int, told: bool = True) -> None:
        """A second at a time; what waits is told every ten."""
        recent: list[float] = []
        for second in range(seconds):
            now = float(second)
            recent.append(arriving(now))
            done = min(self.waiting + recent[-1], self.running * RTFX)
            self.waiting += recent[-1] - done
            if told and second % 10 == 0:
                self._told = sum(recent[-60:]) / len(recent[-60:]), self.waiting
            self._apply(now)
            self.targets.append(self.target)

    def _apply(self, now: float) -> None:
        context = AutoscalingContext(
            deployment_id=None,
            deployment_name="m",
            app_name="a",
            current_num_replicas=self.running,
            target_num_replicas=self.target,
            running_replicas=[],
            total_num_requests=0.0,
            total_queued_requests=0.0,
            aggregated_metrics={},
            raw_metrics={},
            capacity_adjusted_min_replicas=1,
            capacity_adjusted_max_replicas=self._most,
            policy_state=self._state,
            last_scale_up_time=None,
            last_scale_down_time=None,
            current_time=now,
            config=self._config,
        )
        wanted, self._state = self._decided(context, now)
        wanted = min(max(1, wanted), self._most)
        for _ in range(max(0, wanted - self.target)):
            self._starting.append(now + self._start_s)
        self.target = wanted
        self._starting = [at for at in self._starting if at > now or self._ready()]
        self.running = min(self.running, self.target)

    def _ready(self) -> bool:
        self.running += self.running < self.target
        return False

    def _decided(self, context: AutoscalingContext, now: float) -> tuple[int, dict[str, object]]:
        with patch("ray.serve.autoscaling_policy.time", SimpleNamespace(time=lambda: now)):
            wanted, state = self._decide(context)
            return int(wanted), state


def changes(targets: Iterable[int]) -> int:
    return sum(before != after for before, after in pairwise(targets))


@pytest.mark.parametrize("load", [1.5, 3.0, 3.3, 4.6, 9.9])
def test_a_step_is_kept_up_with_and_then_nothing_changes(load: float) -> None:
    cluster = Cluster()
    cluster.run(lambda _: load * RTFX, 3600)
    assert cluster.waiting == pytest.approx(0.0, abs=load * RTFX)
    assert cluster.target >= load / 1.1
    assert cluster.target <= math.ceil(load / 0.9) + 1
    half_an_hour = cluster.targets[1800:]
    assert changes(half_an_hour) <= 2
    assert max(cluster.targets) <= math.ceil(load) + 2, "it does not shoot far beyond"


def test_a_lag_alone_is_worked_off_and_its_replicas_go() -> None:
    cluster = Cluster()
    cluster.waiting = 4 * RTFX * CATCH_UP_S
    cluster.run(lambda _: 0.0, 3600)
    assert max(cluster.targets) == 4
    assert cluster.waiting == 0.0
    assert cluster.target == 1
    assert cluster.targets == sorted(cluster.targets[:60]) + sorted(
        cluster.targets[60:], reverse=True
    ), "up once, and down"


@pytest.mark.parametrize("period", [60, 120, 300])
def test_a_sawtooth_is_no_reason_to_go_up_and_down(period: int) -> None:
    cluster = Cluster()
    cluster.run(lambda now: 4 * RTFX * (now % period) / period, 7200)
    assert changes(cluster.targets[1800:]) <= 2
    assert cluster.waiting < 4 * RTFX * period


def test_without_news_all_stays() -> None:
    cluster = Cluster()
    cluster.run(lambda _: 3 * RTFX, 1800)
    before = cluster.target
    cluster.run(lambda _: 0.0, 1200, told=False)
    assert cluster.target == before
