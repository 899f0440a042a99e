"""What a dashboard is made of: rows of panels, each with its queries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

#: How a panel looks: lines over time, lines on top of each other, the last value, a table of the
#: last values by label, or bars of states over time.
Kind = Literal["lines", "stack", "stat", "table", "states"]
#: From this value on, what is shown has this colour; below the first it is green.
Limit = tuple[float, Literal["yellow", "orange", "red"]]


class Query(NamedTuple):
    """A query of a panel.

    Attributes:
        expression: in PromQL, with the dashboard's variables.
        legend: of each series, with labels as `{{model}}`; in a table, of the values, which are not
            shown without.
        silent: why it finds nothing while all is well; empty where it always finds something.
    """

    expression: str
    legend: str = ""
    silent: str = ""


class Panel(NamedTuple):
    """A panel.

    Attributes:
        title: short.
        means: what is seen, what is well, and what to do where it is not.
        queries: of what it shows.
        unit: of Grafana: "s", "bytes", "percentunit", "short" for numbers.
        kind: how it looks.
        width: of 24 columns.
        limits: from which values on it is no longer well.
        least: where its axis begins; None for the least value.
        page: of the documentation, beneath `docs/`, with its anchor.
    """

    title: str
    means: str
    queries: tuple[Query, ...]
    unit: str = "short"
    kind: Kind = "lines"
    width: int = 8
    limits: tuple[Limit, ...] = ()
    least: float | None = 0
    page: str = ""


class Row(NamedTuple):
    """Panels under a heading."""

    title: str
    panels: tuple[Panel, ...]


class Dashboard(NamedTuple):
    """A dashboard.

    Attributes:
        uid: by which Grafana and its file are named.
        title: as people see it.
        means: the question that it answers.
        rows: what it shows, from above.
    """

    uid: str
    title: str
    means: str
    rows: tuple[Row, ...]

    def panels(self) -> Iterator[Panel]:
        """All of its panels."""
        for row in self.rows:
            yield from row.panels
