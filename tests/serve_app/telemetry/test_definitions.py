"""Names of metrics, and the page about them."""

from __future__ import annotations

import re

import pytest

from deploy.local import ROOT
from serve_app.http.metrics import Metrics
from serve_app.telemetry.definitions import HTTP, STREAM, Metric
from serve_app.telemetry.page import page


def test_the_committed_page_is_fresh() -> None:
    committed = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert page() == committed, "run: python -m serve_app.telemetry.page > docs/metrics.md"


@pytest.mark.parametrize("metric", [*STREAM, *HTTP], ids=lambda metric: metric.name)
def test_a_definition_is_sound(metric: Metric) -> None:
    assert re.fullmatch(r"chorus(\.[a-z_]+){2}", metric.name)
    assert metric.meaning.endswith(".")
    assert bool(metric.bounds) == (metric.kind == "histogram")
    assert list(metric.bounds) == sorted(metric.bounds)


def test_no_name_stands_for_two_things() -> None:
    names = [each.prometheus_name for each in (*STREAM, *HTTP)]
    assert len(set(names)) == len(names)


def test_the_api_serves_what_is_defined() -> None:
    found = set(re.findall(r"^# TYPE (\S+) (\S+)$", Metrics().text().decode(), re.MULTILINE))
    assert found == {(each.prometheus_name, each.kind) for each in HTTP}
