"""Observations in series: one for each model, domain and version, in the order of time."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from workers.quality.observations import MEASURES, Observation
from workers.quality.trend import Values

Numbers = NDArray[np.int64]


class Series:
    """The observations of one version of a model in one domain.

    Args:
        model: name of the model.
        domain: empty without one.
        version: empty without one.

    Attributes:
        model, domain, version: as given.
    """

    def __init__(self, model: str, domain: str, version: str) -> None:
        self.model, self.domain, self.version = model, domain, version
        self._times = array("d")
        self._columns = {each.name: _Column() for each in MEASURES}

    def add(self, observation: Observation) -> None:
        """Add an observation; they come in any order, and count in that of their times."""
        for name, (numerator, denominator) in observation.values.items():
            self._columns[name].add(len(self._times), numerator, denominator)
        self._times.append(math.nan if observation.time is None else observation.time)
        self.__dict__.pop("_order", None)

    @property
    def records(self) -> int:
        """Number of observations."""
        return len(self._times)

    @property
    def first(self) -> float | None:
        """Unix time in seconds of the earliest; None without times."""
        return self.time_of(0) if self.records else None

    @property
    def last(self) -> float | None:
        """Unix time in seconds of the latest; None without times."""
        return self.time_of(self.records - 1) if self.records else None

    def time_of(self, record: int) -> float | None:
        """Unix time in seconds of a record, by its number in the order of time; None without."""
        time = self._times[self._order[record]]
        return None if math.isnan(time) else time

    def values(self, measure: str) -> tuple[Values, Values, Numbers]:
        """A measure of the records that have it, in the order of time.

        Args:
            measure: name of one of `MEASURES`.

        Returns:
            Numerators, denominators and the numbers of the records: [records].
        """
        column = self._columns[measure]
        numbers = self._ranks[np.array(column.records, dtype=np.int64)]
        order = np.argsort(numbers)
        return (
            np.array(column.numerators)[order],
            np.array(column.denominators)[order],
            numbers[order],
        )

    @cached_property
    def _order(self) -> Numbers:
        """Records in the order of time; without times all are alike, and stay in theirs."""
        return np.argsort(np.array(self._times), kind="stable")

    @property
    def _ranks(self) -> Numbers:
        ranks = np.empty(self.records, dtype=np.int64)
        ranks[self._order] = np.arange(self.records)
        return ranks


class _Column:
    def __init__(self) -> None:
        self.records, self.numerators, self.denominators = array("q"), array("d"), array("d")

    def add(self, record: int, numerator: float, denominator: float) -> None:
        self.records.append(record)
        self.numerators.append(numerator)
        self.denominators.append(denominator)


def in_series(observations: Iterable[Observation]) -> list[Series]:
    """The series of observations: by model and domain, versions in the order that they began."""
    found: dict[tuple[str, str, str], Series] = {}
    for each in observations:
        key = (each.model, each.domain, each.version)
        if key not in found:
            found[key] = Series(*key)
        found[key].add(each)
    return sorted(found.values(), key=lambda each: (each.model, each.domain, each.first or 0.0))
