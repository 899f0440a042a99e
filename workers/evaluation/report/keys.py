"""The name, colour and marker by which the page shows a system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from workers.evaluation.comparison.results import Comparison
from workers.evaluation.report.charts.markers import colour, marker_path


@dataclass(frozen=True)
class Key:
    """A system.

    Attributes:
        number: its place among the systems; charts take colour and marker from it.
        colour: in CSS.
        marker: `d` of an SVG path within -1 to 1.
    """

    name: str
    number: int
    colour: str
    marker: str


#: By the system's name, in the order of the systems.
Keys = Mapping[str, Key]


def keys_of(comparison: Comparison) -> Keys:
    """Colour and marker of each system of `comparison`, by its name."""
    return {
        each.name: Key(each.name, number, colour(number), marker_path(number))
        for number, each in enumerate(comparison.systems)
    }
