"""Metrics of the replicas of one machine, by files: each writes its own, any of them reads all.

So it does not matter which replica of the API Prometheus reaches, and what a replica has counted is
still told when it has ended.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from serve_app.telemetry.registry import RegistryInstruments

log = logging.getLogger(__name__)

#: Seconds between two writings of a replica.
_WRITE_S = 2.0
#: A file that has not been written for so long is of a replica that has ended, whose gauges say
#: nothing any more, ...
_ENDED_S = 15.0
#: ... and after so long Prometheus has read what it counted.
_FORGOTTEN_S = 300.0


class Replica(NamedTuple):
    """A replica of Serve, as the labels of its metrics."""

    application: str
    deployment: str
    replica: str


class _Series(msgspec.Struct, array_like=True):
    """What one metric says.

    Attributes:
        name: of the metric.
        meaning: a sentence.
        kind: "counter", "gauge" or "histogram".
        samples: name, labels and value of each.
    """

    name: str
    meaning: str
    kind: str
    samples: list[tuple[str, dict[str, str], float]]


class SharedInstruments(RegistryInstruments):
    """`Instruments` that write a file.

    Args:
        folder: of the cluster's metrics.
        replica: that this process is.
    """

    def __init__(self, folder: Path, replica: Replica) -> None:
        super().__init__(replica._asdict())
        self._folder = folder
        self._file = folder / f"{quote('#'.join(replica), safe='')}.metrics"
        self._writing = threading.Lock()
        folder.mkdir(exist_ok=True)
        threading.Thread(target=self._write_again, name="metrics", daemon=True).start()

    def text(self) -> bytes:
        """The metrics of all replicas, in Prometheus' text format. Blocks for a moment."""
        self.write()
        merged = CollectorRegistry()
        merged.register(SharedMetrics(self._folder))
        return generate_latest(merged)

    def write(self) -> None:
        """Write the file now."""
        said = [
            _Series(
                family.name,
                family.documentation,
                family.type,
                [(each.name, each.labels, each.value) for each in family.samples],
            )
            for family in self.collect()
        ]
        with self._writing:
            new = self._file.with_suffix(".new")
            new.write_bytes(msgspec.msgpack.encode(said))
            os.replace(new, self._file)

    def _write_again(self) -> None:
        while True:
            time.sleep(_WRITE_S)
            try:
                self.write()
            except OSError as error:  # a full disk, or the end of the cluster
                log.debug("the metrics are not written: %s", error.strerror)


class SharedMetrics(Collector):
    """What the replicas of one machine have written, as a collector of Prometheus' library.

    Args:
        folder: of the cluster's metrics.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Family]:
        """Each metric once, with the series of all replicas."""
        families: dict[str, Family] = {}
        for file in sorted(self._folder.glob("*.metrics")):
            for series, ended in _read(file):
                if ended and series.kind == "gauge":
                    continue
                family = families.setdefault(
                    series.name, Family(series.name, series.meaning, series.kind)
                )
                for name, labels, value in series.samples:
                    family.add_sample(name, labels, value)
        yield from families.values()


def _read(file: Path) -> Iterator[tuple[_Series, bool]]:
    """What a replica has written, and whether it has ended; files that are too old are removed."""
    try:
        age = time.time() - file.stat().st_mtime
        if age > _FORGOTTEN_S:
            file.unlink(missing_ok=True)
            return
        said = msgspec.msgpack.decode(file.read_bytes(), type=list[_Series])
    except FileNotFoundError:
        return  # another replica of the API has removed it
    for series in said:
        yield series, age > _ENDED_S
