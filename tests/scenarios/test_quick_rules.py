"""The rules with shorter times are the same rules."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from deploy.observability.files import RULES
from tests.scenarios.quick_rules import quick_rules


def _rules(file: Path) -> list[dict[str, Any]]:
    groups = yaml.safe_load(file.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_times_and_nothing_else_are_shorter(tmp_path: Path) -> None:
    usual, quick = _rules(RULES), _rules(quick_rules(tmp_path / "quick.yaml"))
    assert [rule.get("alert") for rule in quick] == [rule.get("alert") for rule in usual]
    times = re.compile(r"\b\d+[smhd]\b(?!:)")
    for before, after in zip(usual, quick, strict=True):
        found = times.findall(before["expr"]) + times.findall(before.get("for", ""))
        shorter = times.findall(after["expr"]) + times.findall(after.get("for", ""))
        assert len(shorter) == len(found)
        assert all(each.endswith("s") for each in shorter)
    [lag] = [rule["expr"] for rule in quick if rule.get("alert") == "ChorusLag"]
    assert lag == "job:chorus_stream_catch_up:seconds > 60"
