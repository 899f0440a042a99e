"""One message on its way from delivery to commit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kafka import TopicPartition
from opentelemetry.trace import Span

from schemas.failures import RecordError
from schemas.manifest import ManifestRecord
from schemas.transcript import Transcript


@dataclass(slots=True, eq=False)
class PendingRecord:
    """A delivered message, and what became of it.

    Attributes:
        partition, offset: where it was delivered from.
        message: kafka-python's record, whole: a dead letter repeats it byte for byte.
        epoch: assignment of the partition that it was delivered in; set by the offset tracker.
        leader_epoch: of the broker that wrote the message to the log; -1 where it is not known.
        size: bytes of its value.
        manifest: the decoded manifest record; None where it could not be decoded.
        attempts: calls of the Router that it was part of.
        deaths: how often a replica died, or Chorus failed, while this record was alone in a proven
            Router.
        error: its last failure.
        outcome: its transcript, or the error that it is given up for; None until then.
        finished: Unix time in seconds of the outcome.
        done: whether the tracker has counted the outcome.
        span: of its trace, if that is sampled.
    """

    partition: TopicPartition
    offset: int
    message: Any
    epoch: int = 0
    leader_epoch: int = -1
    size: int = 0
    manifest: ManifestRecord | None = None
    attempts: int = 0
    deaths: int = 0
    error: RecordError | None = None
    outcome: Transcript | RecordError | None = None
    finished: float = 0.0
    done: bool = False
    span: Span | None = None

    @classmethod
    def of_file(cls, number: int, manifest: ManifestRecord | None) -> PendingRecord:
        """The `number`-th line of a manifest file, which no Kafka message brought."""
        return cls(TopicPartition("file", 0), number, None, manifest=manifest)

    @property
    def name(self) -> str:
        """``topic-partition-offset``."""
        return f"{self.partition.topic}-{self.partition.partition}-{self.offset}"

    @property
    def dead(self) -> bool:
        """Whether it is given up."""
        return isinstance(self.outcome, RecordError)

    def __repr__(self) -> str:
        return f"PendingRecord({self.name})"

    def __str__(self) -> str:
        return f"record {self.name}"
