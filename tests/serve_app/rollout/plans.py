"""Rollout plans for tests."""

from __future__ import annotations

from typing import Any

from schemas.rollout import RolloutPlan
from schemas.settings import RolloutSettings


def plan(
    number: int = 1, *, app: str = "chorus", model: str = "general", **rules: Any
) -> RolloutPlan:
    """Of version 2 of `m` against version 1, with rules other than the defaults."""
    return RolloutPlan(
        name="m",
        alias="production",
        number=number,
        app=app,
        model=model,
        incumbent="1",
        candidate="2",
        rules=RolloutSettings(**rules),
        by="ann",
        at="2026-01-01T00:00:00+00:00",
    )
