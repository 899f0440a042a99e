"""Names of metrics, and the page about them."""

from __future__ import annotations

import re

import pytest

from deploy.local import ROOT
from serve_app.telemetry.definitions import ALL, Metric
from serve_app.telemetry.page import page


def test_the_committed_page_is_fresh() -> None:
    committed = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert page() == committed, "run: python -m serve_app.telemetry.page > docs/metrics.md"


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_a_definition_is_sound(metric: Metric) -> None:
    assert re.fullmatch(r"chorus(\.[a-z_]+){2}", metric.name)
    assert metric.meaning.endswith(".")
    assert bool(metric.bounds) == (metric.kind == "histogram")
    assert list(metric.bounds) == sorted(metric.bounds)


def test_no_name_stands_for_two_things() -> None:
    names = [each.prometheus_name for each in ALL]
    assert len(set(names)) == len(names)
