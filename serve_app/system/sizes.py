"""Sizes in bytes, for people."""

from __future__ import annotations


def size_text(size: int) -> str:
    """A size in bytes with a unit, such as ``3.4 MiB``; each unit is 1024 of the one before."""
    if size < 1024:
        return f"{size} bytes"
    value, units = size / 1024, ["TiB", "GiB", "MiB", "KiB"]
    while value >= 1023.95 and len(units) > 1:  # which would be written as 1024.0
        value /= 1024
        units.pop()
    return f"{value:.1f} {units[-1]}"
