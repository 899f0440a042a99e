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
        most: observations that are kept; None keeps all. Where there are more, those between the
            first and the latest quarter of so many are forgotten: what they say does not decide
            which they are, so the others are a series as good as before.

    Attributes:
        model, domain, version: as given.
    """

    def __init__(self, model: str, domain: str, version: str, most: int | None = None) -> None:
        self.model, self.domain, self.version = model, domain, version
        self._most = most
        self._times = array("d")
        self._columns = {each.name: _Column() for each in MEASURES}
        self._forgotten = 0
        self._forgettings = 0

    def add(self, observation: Observation) -> None:
        """Add an observation; they come in any order, and count in that of their times."""
        for name, (numerator, denominator) in observation.values.items():
            self._columns[name].add(len(self._times), numerator, denominator)
        self._times.append(math.nan if observation.time is None else observation.time)
        self.__dict__.pop("_order", None)
        if self._most is not None and len(self._times) >= self._most:
            self._forget(self._most // 4)

    @property
    def records(self) -> int:
        """Number of observations, those that were forgotten among them."""
        return len(self._times) + self._forgotten

    @property
    def chance(self) -> float:
        """The part of the probability of an error that looks at it may take, as it is now.

        Whenever something is forgotten, the evidence is gathered anew: the parts add up to 1.
        """
        if self._most is None:
            return 1.0
        return 1 / ((self._forgettings + 1) * (self._forgettings + 2))

    @property
    def first(self) -> float | None:
        """Unix time in seconds of the earliest; None without times."""
        return self.time_of(0) if self._times else None

    @property
    def last(self) -> float | None:
        """Unix time in seconds of the latest; None without times."""
        return self.time_of(len(self._times) - 1) if self._times else None

    def time_of(self, record: int) -> float | None:
        """Unix time in seconds of a record; None without one.

        Args:
            record: its number among those that are kept, in the order of time.
        """
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
        ranks = np.empty(len(self._times), dtype=np.int64)
        ranks[self._order] = np.arange(len(self._times))
        return ranks

    def _forget(self, each: int) -> None:
        """Keep only the first and the latest so many."""
        kept = np.concatenate([self._order[:each], self._order[-each:]])
        numbers = np.full(len(self._times), -1, dtype=np.int64)
        numbers[kept] = np.arange(len(kept))
        for column in self._columns.values():
            column.keep(numbers)
        self._forgotten += len(self._times) - len(kept)
        self._forgettings += 1
        self._times = array("d", np.array(self._times)[kept])
        self.__dict__.pop("_order", None)


class _Column:
    def __init__(self) -> None:
        self.records, self.numerators, self.denominators = array("q"), array("d"), array("d")

    def add(self, record: int, numerator: float, denominator: float) -> None:
        self.records.append(record)
        self.numerators.append(numerator)
        self.denominators.append(denominator)

    def keep(self, numbers: Numbers) -> None:
        """Keep the records that have a number by their old ones, under these; others have -1."""
        new = numbers[np.array(self.records, dtype=np.int64)]
        kept = new >= 0
        self.records = array("q", new[kept])
        self.numerators = array("d", np.array(self.numerators)[kept])
        self.denominators = array("d", np.array(self.denominators)[kept])


class AllSeries:
    """Observations, sorted into series as they come.

    Args:
        most: observations of each series that are kept, see `Series`; None keeps all.
        versions: of a model in a domain, the latest of which are kept; None keeps all.
    """

    def __init__(self, most: int | None = None, versions: int | None = None) -> None:
        self._most, self._versions = most, versions
        self._found: dict[tuple[str, str], dict[str, Series]] = {}

    def add(self, observation: Observation) -> None:
        """Add an observation; see `Series.add`."""
        model, domain, version = observation.model, observation.domain, observation.version
        found = self._found.setdefault((model, domain), {})
        if version not in found:
            if self._versions is not None and len(found) >= self._versions:
                del found[min(found, key=lambda each: found[each].last or 0.0)]
            found[version] = Series(model, domain, version, self._most)
        found[version].add(observation)

    def in_order(self) -> list[Series]:
        """By model and domain, versions in the order that they began."""
        all_of_them = (each for versions in self._found.values() for each in versions.values())
        return sorted(all_of_them, key=lambda each: (each.model, each.domain, each.first or 0.0))


def in_series(observations: Iterable[Observation]) -> list[Series]:
    """The series of observations: by model and domain, versions in the order that they began."""
    found = AllSeries()
    for each in observations:
        found.add(each)
    return found.in_order()
