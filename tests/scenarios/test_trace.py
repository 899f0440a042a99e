"""Traces through every process of a real stream, and the metrics of all of them by the API."""

from __future__ import annotations

import time

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from serve_app.telemetry import definitions as defined
from tests.scenarios.trace import run_trace

pytestmark = [pytest.mark.kafka, pytest.mark.ray, pytest.mark.slow]

#: What nothing was counted of: no GPU, no reference, no failure.
_SILENT = {defined.MODEL_MEMORY, defined.FALLBACKS, defined.MEMBERS_FAILED, defined.ROUTER_FAILURES}
_SILENT |= {defined.EMPTY_TEXTS, defined.ARMS, defined.CLIPPED}


def test_a_record_and_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_BSP_SCHEDULE_DELAY", "OTEL_TRACES_SAMPLER")
    for name in names:
        monkeypatch.setenv(name, "")  # set by the scenario, and taken back afterwards
    shown: list[str] = []
    expected = {*defined.MODEL, *defined.ROUTER, *defined.HTTP} - _SILENT
    missing: set[str] = set()

    def look(url: str) -> None:
        nonlocal missing
        deadline = time.monotonic() + 30  # replicas write every two seconds
        while True:
            families = list(text_string_to_metric_families(httpx.get(f"{url}/metrics").text))
            told = {sample.name for family in families for sample in family.samples}
            missing = {
                each.name
                for each in expected
                if each.prometheus_name + ("_count" if each.kind == "histogram" else "") not in told
            }
            if not missing or time.monotonic() > deadline:
                return
            time.sleep(0.5)

    _, faults = run_trace(shown.append, look)
    assert not faults
    assert not missing
    assert len(shown) == 2
