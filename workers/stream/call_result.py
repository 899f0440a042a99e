"""What becomes of the records of one call of the Router: finished, tried again, or suspect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from schemas.failures import ErrorCode, FailureClass, RecordError
from schemas.transcript import Transcript
from workers.stream.pending_record import PendingRecord

#: Tried again, but no sign that the Router or a model is down.
_FAULTS_OF_ONE_RECORD = frozenset(
    {
        ErrorCode.AUDIO_IO,
        ErrorCode.MODEL_OUT_OF_MEMORY,
        ErrorCode.MODEL_FAULT,
        ErrorCode.INTERNAL_FAULT,
    }
)


@dataclass(slots=True)
class CallResult:
    """What a call's results mean for its records.

    Attributes:
        finished: have a transcript or are poison; `outcome` is set.
        retryable: failed through no fault of theirs.
        split: whether `retryable` are too many for one call (out of memory).
        suspects: a replica died while it worked on them, or its engine or Chorus failed on them.
        blames_backend: whether any of the failures is the Router's or a model's.
        unreachable: whether the call did not get through, whatever is in it.
    """

    finished: list[PendingRecord] = field(default_factory=list)
    retryable: list[PendingRecord] = field(default_factory=list)
    split: bool = False
    suspects: list[PendingRecord] = field(default_factory=list)
    blames_backend: bool = False
    unreachable: bool = False

    @property
    def failed(self) -> bool:
        """Whether the call finished no record, through a fault of the backend."""
        return not self.finished and self.blames_backend


def classify(
    records: Sequence[PendingRecord], answers: Sequence[Transcript | RecordError]
) -> CallResult:
    """Sort `records` by their answers (same length, same order); sets the outcomes."""
    result = CallResult()
    for record, answer in zip(records, answers, strict=True):
        if isinstance(answer, Transcript):
            record.outcome = answer
            result.finished.append(record)
            continue
        record.error = answer
        if answer.failure is FailureClass.POISON:
            record.outcome = answer
            result.finished.append(record)
            continue
        result.blames_backend |= answer.code not in _FAULTS_OF_ONE_RECORD
        if answer.failure is FailureClass.SUSPECT:
            result.suspects.append(record)
        else:
            result.retryable.append(record)
            result.split |= answer.code is ErrorCode.MODEL_OUT_OF_MEMORY
    return result


def halves(records: list[PendingRecord]) -> list[list[PendingRecord]]:
    """`records` in two halves in order; one half where there is only one."""
    middle = (len(records) + 1) // 2
    return [half for half in (records[:middle], records[middle:]) if half]
