"""Dashboards as Grafana reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from deploy.observability.files import DASHBOARDS as FOLDER
from deploy.observability.panels import Dashboard, Panel, Query
from deploy.observability.queries import FIRING
from serve_app.telemetry.definitions import MODEL_BUSY, PARTITIONS, ROUTER_CALLS

_SOURCE = models.DataSourceRef(type_val="prometheus", uid="${source}")
_TAG = "chorus"
_HEIGHTS = {"stat": 4}
_HEIGHT = 8
#: Columns of a table that say nothing to people.
_HIDDEN = dict.fromkeys(("Time", "__name__", "alertstate"), True)
#: Above this number of series a legend lists them with their values.
_SHORT_LEGEND = 1


def write(dashboards: Iterable[Dashboard]) -> None:
    """Write the file of each dashboard."""
    FOLDER.mkdir(exist_ok=True)
    for each in dashboards:
        (FOLDER / f"{each.uid}.json").write_text(text_of(each))


def text_of(board: Dashboard) -> str:
    """The file of a dashboard."""
    made = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.means)
        .tags([_TAG])
        .refresh("30s")
        .time("now-3h", "now")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(_siblings())
        .annotation(_firing())
    )
    for variable in _variables():
        made.with_variable(variable)
    numbers = count(1)
    for row in board.rows:
        made.with_row(dashboard.Row(row.title).id(next(numbers)))
        for panel in row.panels:
            made.with_panel(_panel(panel).id(next(numbers)))
    return JSONEncoder(sort_keys=True, indent=1).encode(made.build()) + "\n"


def _siblings() -> dashboard.DashboardLink:
    """The way to the other dashboards, with the time and the variables of this one."""
    return (
        dashboard.DashboardLink("Chorus")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags([_TAG])
        .keep_time(True)
        .include_vars(True)
    )


def _firing() -> dashboard.AnnotationQuery:
    """When alerts fire, over every panel."""
    return (
        dashboard.AnnotationQuery()
        .name("Alerts")
        .datasource(_SOURCE)
        .enable(True)
        .icon_color("red")
        .expr(FIRING)
    )


def _variables() -> list[Any]:
    return [
        dashboard.DatasourceVariable("source").label("Prometheus").type("prometheus"),
        _variable("job", "stream workers", f"label_values({PARTITIONS.prometheus_name}, job)"),
        _variable(
            "application",
            "application",
            f'label_values({{__name__=~"{MODEL_BUSY.prometheus_name}'
            f'|{ROUTER_CALLS.prometheus_name}"}}, application)',
        ),
        _variable("model", "model", f"label_values({MODEL_BUSY.prometheus_name}, model)"),
        dashboard.TextBoxVariable("docs").label("documentation at").default_value("/docs"),
    ]


def _variable(name: str, label: str, query: str) -> dashboard.QueryVariable:
    # of all, also series without the label
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(_SOURCE)
        .query(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(models.VariableOption(selected=True, text="All", value="$__all"))
    )


def _panel(panel: Panel) -> Any:
    make = _MAKERS.get(panel.kind, _lines)
    made = (
        make(panel)
        .title(panel.title)
        .description(panel.means)
        .datasource(_SOURCE)
        .span(panel.width)
        .height(_HEIGHTS.get(panel.kind, _HEIGHT))
        .unit(panel.unit)
        .thresholds(_thresholds(panel))
    )
    if panel.page:
        address = f"${{docs}}/{panel.page}"
        made.links([dashboard.DashboardLink("What to do").url(address).target_blank(True)])
    for number, query in enumerate(panel.queries):
        made.with_target(_target(panel, query, chr(ord("A") + number)))
    return made


def _target(panel: Panel, query: Query, letter: str) -> prometheus.Dataquery:
    target = prometheus.Dataquery().ref_id(letter).expr(query.expression)
    target.legend_format(query.legend or panel.title)
    if panel.kind == "table":
        return target.instant().format(PromQueryFormat.TABLE)
    return target.instant() if panel.kind == "stat" else target.range()


def _thresholds(panel: Panel) -> dashboard.ThresholdsConfig:
    steps = [models.Threshold(value=None, color="green")]
    steps += [models.Threshold(value=value, color=colour) for value, colour in panel.limits]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _lines(panel: Panel) -> timeseries.Panel:
    several = len(panel.queries) > _SHORT_LEGEND or "{{" in panel.queries[0].legend
    legend = common.VizLegendOptions().placement(looks.LegendPlacement.BOTTOM)
    legend.show_legend(several).display_mode(looks.LegendDisplayMode.TABLE)
    legend.calcs(["lastNotNull", "max"])
    made = timeseries.Panel().legend(legend).show_points(looks.VisibilityMode.NEVER)
    tooltip = common.VizTooltipOptions().mode(looks.TooltipDisplayMode.MULTI)
    made.tooltip(tooltip.sort(looks.SortOrder.DESCENDING)).line_width(1)
    if panel.least is not None:
        made.min(panel.least)
    if panel.kind == "stack":
        made.stacking(common.StackingConfig().mode(looks.StackingMode.NORMAL)).fill_opacity(30)
    if panel.limits:
        style = common.GraphThresholdsStyleConfig()
        made.thresholds_style(style.mode(looks.GraphTresholdsStyleMode.DASHED))
    return made


def _stat(panel: Panel) -> stat.Panel:
    colour = looks.BigValueColorMode.BACKGROUND if panel.limits else looks.BigValueColorMode.NONE
    return stat.Panel().color_mode(colour).graph_mode(looks.BigValueGraphMode.NONE)


def _table(panel: Panel) -> table.Panel:
    [query] = panel.queries
    columns: dict[str, Any] = {"excludeByName": _HIDDEN | {"Value": not query.legend}}
    if query.legend:
        columns["renameByName"] = {"Value": query.legend}
    organize = models.DataTransformerConfig(id_val="organize", options=columns)
    return table.Panel().with_transformation(organize)


def _states(panel: Panel) -> statetimeline.Panel:
    words = {
        "0": models.ValueMappingResult(text="no", color="transparent"),
        "1": models.ValueMappingResult(text="yes", color=panel.limits[-1][1]),
    }
    return statetimeline.Panel().mappings([models.ValueMap(words)]).row_height(0.8)


_MAKERS: dict[str, Callable[[Panel], Any]] = {"stat": _stat, "table": _table, "states": _states}
