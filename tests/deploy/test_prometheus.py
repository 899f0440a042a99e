"""Prometheus and Alertmanager take their examples, and metrics get their names."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from deploy.local import ROOT
from deploy.observability.files import FOLDER, RULES
from serve_app.telemetry.definitions import ALL

PROMETHEUS = FOLDER / "prometheus.yaml"
ALERTMANAGER = FOLDER / "alertmanager.yaml"
POD_MONITORS = ROOT / "deploy" / "kubernetes" / "components" / "monitoring" / "podmonitors.yaml"


def _run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(each) for each in command], capture_output=True, text=True)


def _of_prometheus() -> dict[str, Any]:
    """How Prometheus' example changes names of Ray's job."""
    jobs = yaml.safe_load(PROMETHEUS.read_text())["scrape_configs"]
    [job] = [each for each in jobs if each["job_name"] == "ray"]
    [rule] = job["metric_relabel_configs"]
    return dict(rule)


def _of_pod_monitor() -> dict[str, Any]:
    """How the PodMonitor of Ray's nodes does."""
    monitors = yaml.safe_load_all(POD_MONITORS.read_text())
    [monitor] = [each for each in monitors if each["metadata"]["name"] == "chorus-ray"]
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    [rule] = endpoint["metricRelabelings"]
    words = {"sourceLabels": "source_labels", "targetLabel": "target_label"}
    return {words.get(key, key): value for key, value in rule.items()}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool")
def test_prometheus_takes_its_example() -> None:
    done = _run("promtool", "check", "config", PROMETHEUS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert RULES.name in done.stdout, "it reads the rules"


@pytest.mark.skipif(shutil.which("amtool") is None, reason="needs amtool")
@pytest.mark.parametrize(("severity", "receiver"), [("page", "on-call"), ("ticket", "tickets")])
def test_alertmanager_tells_pages_from_tickets(severity: str, receiver: str) -> None:
    done = _run("amtool", "check-config", ALERTMANAGER)
    assert done.returncode == 0, done.stdout + done.stderr
    test = ("amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}")
    assert _run(*test, "alertname=Any", f"severity={severity}").stdout.split() == [receiver]


def test_what_is_inhibited_are_alerts() -> None:
    names = {
        rule.get("alert")
        for group in yaml.safe_load(RULES.read_text())["groups"]
        for rule in group["rules"]
    }
    said = re.findall(r"Chorus\w+", ALERTMANAGER.read_text())
    assert said
    assert set(said) <= names


@pytest.mark.parametrize("rule", [_of_prometheus(), _of_pod_monitor()], ids=["job", "pods"])
def test_what_ray_puts_before_the_names_is_taken_off(rule: dict[str, Any]) -> None:
    assert rule["source_labels"] == ["__name__"]
    assert rule["target_label"] == "__name__"
    for metric in ALL:
        found = re.fullmatch(rule["regex"], f"ray_{metric.prometheus_name}")
        assert found is not None
        assert found[1] == metric.prometheus_name
        assert re.fullmatch(rule["regex"], metric.prometheus_name) is None
    assert re.fullmatch(rule["regex"], "ray_serve_deployment_status") is None
