"""The dashboards ask for what is measured, in queries that are sound, and lead to the pages.

Nobody has seen them in Grafana; `make observability` has a real Prometheus answer every query.
"""

from __future__ import annotations

import json
import re
from typing import Any

import promql_parser as promql
import pytest
import yaml

from deploy.local import ROOT
from deploy.observability.building import text_of
from deploy.observability.catalogue import DASHBOARDS, NOT_SHOWN
from deploy.observability.files import DASHBOARDS as FOLDER
from deploy.observability.files import RULES
from deploy.observability.panels import Dashboard, Panel
from deploy.observability.queries import RAY, filled, recorded
from serve_app.telemetry.definitions import ALL
from tests.anchors import leads_somewhere

#: Labels that Prometheus, Serve and Ray add.
_ADDED = {"job", "instance", "application", "deployment", "replica"}
_PARTS = ("", "_bucket", "_count", "_sum")
_BY_NAME = {f"{each.prometheus_name}{part}": each for each in ALL for part in _PARTS}
_BEHIND: dict[str, str] = {
    rule["record"]: rule["expr"]
    for group in yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]
    if "record" in rule
}
_NAMES = [each.uid for each in DASHBOARDS]
_PANELS = [(board, panel) for board in DASHBOARDS for panel in board.panels()]
_IDS = [f"{board.uid}: {panel.title}" for board, panel in _PANELS]


def _expressions(panel: Panel) -> list[str]:
    return [filled(query.expression, "5m") for query in panel.queries]


def _nodes(expression: str) -> list[Any]:
    """All parts of a query."""
    found: list[Any] = []
    promql.walk(promql.parse(expression), found.append)
    return found


def _asked(expression: str) -> set[str]:
    """Names of the series that a query selects; of what is recorded, those behind it."""
    nodes = _nodes(expression)
    names = {each.name or "" for each in nodes if isinstance(each, promql.VectorSelector)}
    behind = [_asked(_BEHIND[name]) for name in names & _BEHIND.keys()]
    return (names - _BEHIND.keys()).union(*behind)


def _labels(expression: str) -> set[str]:
    """Labels that a query names."""
    found: set[str] = set()
    for each in _nodes(expression):
        if isinstance(each, promql.VectorSelector):
            found |= {matcher.name for matcher in each.matchers.matchers}
        elif isinstance(each, promql.AggregateExpr) and each.modifier is not None:
            found |= set(each.modifier.labels)
    return found


@pytest.mark.parametrize("board", DASHBOARDS, ids=_NAMES)
def test_the_files_are_fresh(board: Dashboard) -> None:
    said = (FOLDER / f"{board.uid}.json").read_text()
    assert said == text_of(board), "run `python -m deploy.observability`"


def test_there_is_no_other_file() -> None:
    assert sorted(path.stem for path in FOLDER.iterdir()) == sorted(_NAMES)


@pytest.mark.parametrize(("board", "panel"), _PANELS, ids=_IDS)
def test_a_panel_asks_for_what_is_there(board: Dashboard, panel: Panel) -> None:
    for expression in _expressions(panel):
        asked = _asked(expression)
        assert asked <= _BY_NAME.keys() | set(RAY.values()) | {"ALERTS"}
        known = {label for name in asked & _BY_NAME.keys() for label in _BY_NAME[name].labels}
        if asked & _BY_NAME.keys():
            assert _labels(expression) <= known | _ADDED | {"le", "plan"}
        written = {
            label for query in panel.queries for label in re.findall(r"{{(\w+)}}", query.legend)
        }
        assert written <= known | _ADDED | {"plan"}


@pytest.mark.parametrize(("board", "panel"), _PANELS, ids=_IDS)
def test_a_panel_says_what_it_shows(board: Dashboard, panel: Panel) -> None:
    assert panel.means.endswith(".")
    several = len(panel.queries) > 1
    assert all(query.legend for query in panel.queries) or not several
    page, _, anchor = panel.page.partition("#")
    assert not page or leads_somewhere(ROOT / "docs" / page, anchor)
    values = [value for value, _ in panel.limits]
    assert values == sorted(values)
    assert panel.page or not panel.limits or panel.limits[-1][1] == "yellow"


def test_every_metric_is_shown_or_said_not_to_be() -> None:
    asked = {name for _, panel in _PANELS for each in _expressions(panel) for name in _asked(each)}
    shown = {_BY_NAME[name] for name in asked & _BY_NAME.keys()}
    assert set(ALL) - shown == NOT_SHOWN.keys()
    assert all(reason.endswith(".") for reason in NOT_SHOWN.values())


@pytest.mark.parametrize("board", DASHBOARDS, ids=_NAMES)
def test_panels_fill_the_rows(board: Dashboard) -> None:
    for row in board.rows:
        assert sum(panel.width for panel in row.panels) % 24 in (0, 8, 16), row.title
    titles = [panel.title for panel in board.panels()]
    assert len(set(titles)) == len(titles)


def test_grafana_is_given_what_it_needs() -> None:
    for board in DASHBOARDS:
        made = json.loads(text_of(board))
        panels = [each for each in made["panels"] if each["type"] != "row"]
        assert [each["title"] for each in panels] == [each.title for each in board.panels()]
        places = {(each["gridPos"]["x"], each["gridPos"]["y"]) for each in made["panels"]}
        assert len(places) == len(made["panels"])
        assert len({each["id"] for each in made["panels"]}) == len(made["panels"])
        used = set(re.findall(r"\$\{?(\w+)", json.dumps(made))) - {"__rate_interval", "__all"}
        assert used <= {each["name"] for each in made["templating"]["list"]}


def test_a_rule_that_is_not_there_is_not_asked_for() -> None:
    with pytest.raises(ValueError, match="no recording rule job:gone:rate5m"):
        recorded("job:gone:rate5m")
