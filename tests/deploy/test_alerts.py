"""The alerts, as Prometheus' own `promtool` evaluates them: due or silent, over simulated hours."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.local import ROOT
from deploy.observability.files import RULES as RULES_FILE
from serve_app.telemetry.definitions import ALL
from tests.anchors import leads_somewhere

_FOUND: list[dict[str, Any]] = yaml.safe_load(RULES_FILE.read_text())["groups"]
#: What is recorded comes first, as it does in time where rules are evaluated each minute.
GROUPS = [group["name"] for group in _FOUND]
RULES: list[dict[str, Any]] = [rule for group in _FOUND for rule in group["rules"]]
NAMES = [rule["alert"] for rule in RULES if "alert" in rule]
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool")

MINUTES = 180
STREAM_LABELS = 'job="stream", instance="a"'
MODEL_LABELS = 'job="api", model="general", replica="r"'
#: Series of a healthy installation, by name and labels, in promtool's notation.
HEALTHY = {
    f'chorus_stream_records_total{{{STREAM_LABELS}, model="general"}}': "0+600x180",
    f'chorus_stream_dead_letters_total{{{STREAM_LABELS}, code="audio_missing"}}': "0+1x180",
    f"chorus_stream_lag_records{{{STREAM_LABELS}}}": "400+0x180",
    # restarted within two minutes
    'up{job="chorus-stream", instance="a"}': "1x50 0x2 1x128",
    'up{job="unrelated", instance="b"}': "0x180",
    # a short outage
    f"chorus_stream_breaker_open{{{STREAM_LABELS}}}": "0x60 1x2 0x118",
    f"chorus_stream_recoveries_total{{{STREAM_LABELS}}}": "0x60 1x120",
    f"chorus_stream_heartbeat_age_seconds{{{STREAM_LABELS}}}": "0.1x180",
    f"chorus_stream_lost_records_total{{{STREAM_LABELS}}}": "0x180",
    f'chorus_stream_latency_seconds_bucket{{{STREAM_LABELS}, le="10"}}': "0+500x180",
    f'chorus_stream_latency_seconds_bucket{{{STREAM_LABELS}, le="60"}}': "0+600x180",
    f'chorus_stream_latency_seconds_bucket{{{STREAM_LABELS}, le="1800"}}': "0+600x180",
    f'chorus_stream_latency_seconds_bucket{{{STREAM_LABELS}, le="+Inf"}}': "0+600x180",
    f'chorus_stream_word_errors_total{{{STREAM_LABELS}, model="general"}}': "0+8x180",
    f'chorus_stream_reference_words_total{{{STREAM_LABELS}, model="general"}}': "0+100x180",
    f'chorus_quality_verdict{{{STREAM_LABELS}, model="general", verdict="stable"}}': "1x180",
    f'chorus_quality_verdict{{{STREAM_LABELS}, model="general", verdict="worse"}}': "0x180",
    'chorus_model_refusals_total{job="api", model="general"}': "0x180",
    f"chorus_model_audio_seconds_total{{{MODEL_LABELS}}}": "0+1200x180",
    f"chorus_model_busy_seconds_total{{{MODEL_LABELS}}}": "0+50x180",
    f'chorus_model_clips_total{{{MODEL_LABELS}, outcome="text"}}': "0+300x180",
    f'chorus_model_queue_time_seconds_bucket{{{MODEL_LABELS}, le="10"}}': "0+95x180",
    f'chorus_model_queue_time_seconds_bucket{{{MODEL_LABELS}, le="60"}}': "0+100x180",
    f'chorus_model_queue_time_seconds_bucket{{{MODEL_LABELS}, le="+Inf"}}': "0+100x180",
    'chorus_router_routes_total{job="api", rule="default", target="tiers"}': "0+300x180",
    'chorus_router_routes_total{job="api", rule="calls", target="tiers"}': "0+300x180",
    'chorus_router_fallbacks_total{job="api", plan="tiers"}': "0+6x180",
    'chorus_rollout_verdict{job="api", model="general", verdict="hold"}': "1x180",
    'chorus_rollout_verdict{job="api", model="general", verdict="roll_back"}': "0x180",
    'ray_serve_application_status{application="chorus"}': "3x180",
    'ray_serve_deployment_status{application="chorus", deployment="Router"}': "5x180",
    'ray_serve_deployment_replica_starts_total{application="chorus", deployment="Router"}': "1x180",
    'ray_node_disk_utilization_percentage{instance="n"}': "60x180",
    'chorus_http_requests_total{job="api", route="/x", status="200"}': "0+100x180",
    'chorus_http_requests_total{job="api", route="/x", status="500"}': "0x180",
    'chorus_stream_worker_faults{job="api"}': "0x180",
}
#: What happens after the first hour, by the alert that is due within two more.
DUE = {
    "ChorusNoModelAnswers": {"chorus_stream_breaker_open": "0x60 1x120"},
    "ChorusStreamStandsStill": {
        "chorus_stream_records_total": "0+600x60 36000x120",
        "chorus_stream_dead_letters_total": "0+1x60 60x120",
    },
    "ChorusLag": {"chorus_stream_lag_records": "400x60 90000x120"},
    "ChorusDeadLetters": {"chorus_stream_dead_letters_total": "0+1x60 60+60x120"},
    "ChorusCommitsFail": {"chorus_stream_recoveries_total": "0x60 0+1x120"},
    "ChorusWorkerHangs": {"chorus_stream_heartbeat_age_seconds": "0.1x60 0+60x120"},
    "ChorusSilent": {'up{job="chorus-stream"': "1x60 0x120"},
    "ChorusRecordsLost": {"chorus_stream_lost_records_total": "0x150 7x30"},
    "ChorusSlow": {
        'chorus_stream_latency_seconds_bucket{.*le="10"': "0+500x60 30000x120",
        'chorus_stream_latency_seconds_bucket{.*le="60"': "0+600x60 36000x120",
    },
    "ChorusSlowModel": {"chorus_model_audio_seconds_total": "0+1200x60 72000+300x120"},
    "ChorusClipsWait": {
        'chorus_model_queue_time_seconds_bucket{.*le="10"': "0+95x60 5700x120",
    },
    "ChorusFallbacks": {"chorus_router_fallbacks_total": "0+6x60 360+60x120"},
    "ChorusRolloutRollsBack": {'chorus_rollout_verdict{.*"roll_back"': "0x170 1x2 _x8"},
    "ChorusQualityChanged": {'chorus_quality_verdict{.*"worse"': "0x60 1x120"},
    "ChorusVersionRefused": {"chorus_model_refusals_total": "0x170 2x10"},
    "ChorusApplicationNotWell": {"ray_serve_application_status": "3x60 1x120"},
    "ChorusReplicaLoop": {"ray_serve_deployment_replica_starts_total": "1x60 1+1x120"},
    "ChorusDisk": {"ray_node_disk_utilization_percentage": "60+0.2x180"},
    "ChorusHttpFails": {'chorus_http_requests_total{.*"500"': "0x60 0+2x120"},
    "ChorusWorkersEnded": {"chorus_stream_worker_faults": "0x60 1x120"},
}


def evaluated(
    folder: Path,
    series: Mapping[str, str],
    due: Mapping[str, Sequence[str]],
    times: Sequence[str],
    *,
    interval: str = "1m",
) -> str:
    """What promtool says where it finds other alerts than are due; empty where it does not.

    Args:
        folder: for its file.
        series: values by name and labels, in promtool's notation.
        due: by alert, those of `times` at which it fires.
        times: when it is looked.
        interval: between two values, and two evaluations.
    """
    looks = [
        {
            "expr": f'count(ALERTS{{alertstate="firing", alertname="{name}"}})',
            "eval_time": at,
            "exp_samples": [{"value": 1, "labels": "{}"}] if at in firing else [],
        }
        for name, firing in due.items()
        for at in times
    ]
    given = [{"series": name, "values": values} for name, values in series.items()]
    tests = {
        "rule_files": [str(RULES_FILE)],
        "group_eval_order": GROUPS,
        "evaluation_interval": interval,
        "tests": [{"interval": interval, "input_series": given, "promql_expr_test": looks}],
    }
    file = folder / "tests.yaml"
    file.write_text(yaml.safe_dump(tests))
    done = subprocess.run(
        ["promtool", "test", "rules", str(file)], capture_output=True, text=True, timeout=60
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


#: When it is looked whether alerts fire: in the healthy hour, and at the end.
_TIMES = ("30m", "59m", "178m")


def changed(what: dict[str, str]) -> dict[str, str]:
    """The healthy series with others in place of those whose names begin so."""
    found = dict(HEALTHY)
    for pattern, values in what.items():
        names = [name for name in HEALTHY if re.match(pattern, name)]
        assert names, pattern
        found |= dict.fromkeys(names, values)
    return found


@needs_promtool
def test_they_are_rules() -> None:
    done = subprocess.run(["promtool", "check", "rules", str(RULES_FILE)], capture_output=True)
    assert done.returncode == 0, done.stdout


@needs_promtool
def test_nothing_fires_while_nothing_is_wrong(tmp_path: Path) -> None:
    assert evaluated(tmp_path, HEALTHY, {name: [] for name in NAMES}, _TIMES) == ""


@needs_promtool
@pytest.mark.parametrize("alert", DUE)
def test_an_alert_fires_when_it_is_due_and_no_other_does(alert: str, tmp_path: Path) -> None:
    due = {name: ["178m"] if name == alert else [] for name in NAMES}
    assert evaluated(tmp_path, changed(DUE[alert]), due, _TIMES) == ""


#: What tells a model that got worse: what is counted, and of what.
WORSE = {
    "ChorusWorseModel": (
        'chorus_stream_word_errors_total{job="stream", model="m"}',
        'chorus_stream_reference_words_total{job="stream", model="m"}',
    ),
    "ChorusUnsureModel": (
        'chorus_router_confidence_bucket{job="api", model="m", le="0.5"}',
        'chorus_router_confidence_count{job="api", model="m"}',
    ),
    "ChorusEmptyTexts": (
        'chorus_router_empty_texts_total{job="api", model="m"}',
        'chorus_model_clips_total{job="api", model="m", replica="r", outcome="text"}',
    ),
}


@needs_promtool
@pytest.mark.parametrize(("worse", "fires"), [(8, False), (11, False), (30, True)])
def test_a_model_that_got_worse_is_told_within_a_day(
    worse: int, fires: bool, tmp_path: Path
) -> None:
    day = 24 * 60 // 30
    series = {}
    for counted, of in WORSE.values():
        series[counted] = f"0+8x{9 * day} {8 * 9 * day}+{worse}x{day}"
        series[of] = f"0+100x{10 * day}"
    due = {alert: ["10d"] if fires else [] for alert in WORSE}
    assert evaluated(tmp_path, series, due, ("9d", "10d"), interval="30m") == ""


def test_each_alert_has_a_trial() -> None:
    assert set(DUE) | set(WORSE) == set(NAMES)


def test_they_ask_for_what_is_measured() -> None:
    defined = {each.prometheus_name for each in ALL}
    defined |= {f"{name}_{part}" for name in defined for part in ("bucket", "count")}
    asked = {name for rule in RULES for name in re.findall(r"\bchorus_\w+", rule["expr"])}
    recorded = {rule["record"].split(":")[1] for rule in RULES if "record" in rule}
    assert asked - recorded <= defined


@pytest.mark.parametrize("rule", [rule for rule in RULES if "alert" in rule], ids=NAMES)
def test_an_alert_leads_to_a_paragraph(rule: dict[str, Any]) -> None:
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert leads_somewhere(ROOT / page, anchor)
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["labels"]["severity"] in ("page", "ticket")
