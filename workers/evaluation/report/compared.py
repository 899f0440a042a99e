"""The table of the systems that were compared."""

from __future__ import annotations

from collections.abc import Callable

from workers.evaluation.comparison.results import Comparison
from workers.evaluation.report.details import Column
from workers.evaluation.report.text import NONE, one_decimal
from workers.evaluation.systems.base import SystemInfo


def system_columns(comparison: Comparison) -> list[Column]:
    """The columns of the table, a cell for each system; uninformative columns are left out."""

    def column(title: str, value: Callable[[SystemInfo], str]) -> Column:
        return Column(title, "", [value(each) or NONE for each in comparison.systems])

    memory = comparison.gpu_memory_gb
    columns = [
        column("Type", lambda s: s.type),
        column("Domain", lambda s: s.domain),
        column("Device", lambda s: s.device),
        column("GPU memory, GiB", lambda s: one_decimal(memory.get(s.name) or None)),
        column("Loaded in, s", lambda s: one_decimal(s.load_seconds or None)),
        column("SHA-256", lambda s: s.sha256[:12]),
    ]
    return [each for each in columns if each.says_something]
