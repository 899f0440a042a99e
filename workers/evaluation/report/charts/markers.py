"""The colour and the marker of each system."""

from __future__ import annotations

import numpy as np
from matplotlib.markers import MarkerStyle

#: How many colours the page has to define: `--series-0`, `--series-1`, ...
COLOURS = 8
#: With factors that make them look alike in size. There is one more than there are colours, so that
#: no two of the first 72 systems look the same.
MARKERS = {
    "o": 1.0,
    "s": 0.92,
    "^": 1.12,
    "D": 0.85,
    "v": 1.12,
    "P": 1.12,
    "X": 1.12,
    "p": 1.12,
    "*": 1.45,
}


def colour(number: int) -> str:
    """The CSS colour of system `number`."""
    return f"var(--series-{number % COLOURS})"


def marker(number: int) -> tuple[str, float]:
    """Matplotlib's marker of system `number`, and the factor of its size."""
    return list(MARKERS.items())[number % len(MARKERS)]


def marker_path(number: int) -> str:
    """The marker of system `number`: `d` of an SVG path within -1 to 1."""
    style = MarkerStyle(marker(number)[0])
    path = style.get_path().transformed(style.get_transform())
    polygons = [np.asarray(each) for each in path.to_polygons(width=0, height=0)]
    size = max(float(np.abs(each).max()) for each in polygons)
    parts = []
    for each in polygons:
        corners = " ".join(f"{x / size:.2f},{-y / size:.2f}" for x, y in each)
        parts.append(f"M{corners}Z")
    return "".join(parts)
