"""One message on its way from delivery to commit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kafka import TopicPartition

from schemas.failures import RecordError
from schemas.manifest import ManifestRecord
from schemas.transcript import Transcript


@dataclass(slots=True, eq=False)
class Work:
    """A delivered message, and what became of it.

    Attributes:
        partition, offset: where it was delivered from.
        message: kafka-python's record, whole: a dead letter repeats it byte for byte.
        epoch: assignment of the partition that it was delivered in; set by the offset tracker.
        size: bytes of its value.
        record: the decoded manifest record; None where it could not be decoded.
        attempts: calls of the Router that it was part of.
        deaths: how often a replica died while this record was alone in a proven Router.
        error: its last failure.
        outcome: its transcript, or the error that it is given up for; None until then.
        finished: Unix time in seconds of the outcome.
        done: whether the tracker has counted the outcome.
    """

    partition: TopicPartition
    offset: int
    message: Any
    epoch: int = 0
    size: int = 0
    record: ManifestRecord | None = None
    attempts: int = 0
    deaths: int = 0
    error: RecordError | None = None
    outcome: Transcript | RecordError | None = None
    finished: float = 0.0
    done: bool = False

    @property
    def name(self) -> str:
        """``topic-partition-offset``."""
        return f"{self.partition.topic}-{self.partition.partition}-{self.offset}"

    @property
    def dead(self) -> bool:
        """Whether it is given up."""
        return isinstance(self.outcome, RecordError)

    def __repr__(self) -> str:
        return f"Work({self.name})"
