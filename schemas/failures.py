"""Why a record was not transcribed: failure classes, error codes, and the typed error."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class FailureClass(StrEnum):
    """Who owns a failure, which decides what happens to the record.

    - ``retryable``: the system's fault (no replica, time-out, overload). Tried again, without a
      limit while the backend is down: an outage never fills the dead letters.
    - ``poison``: the record's fault, and it will be again. Dead-lettered at once.
    - ``suspect``: a replica of a model, or of the Router, died while it worked on the record. Tried
      again in ever smaller batches; dead-lettered only when it kills a replica alone, several
      times.
    """

    RETRYABLE = "retryable"
    POISON = "poison"
    SUSPECT = "suspect"


class ErrorCode(StrEnum):
    """Every reason for a refusal; each belongs to one failure class (`failure_class`)."""

    # poison: the record
    RECORD_JSON = "record_json"
    RECORD_SCHEMA = "record_schema"
    # poison: its audio
    AUDIO_MISSING = "audio_missing"
    AUDIO_OUTSIDE_ROOTS = "audio_outside_roots"
    AUDIO_UNREADABLE = "audio_unreadable"
    AUDIO_UNDECODABLE = "audio_undecodable"
    AUDIO_UNSUPPORTED = "audio_unsupported"
    AUDIO_EMPTY = "audio_empty"
    AUDIO_TOO_LONG = "audio_too_long"
    AUDIO_TOO_LARGE = "audio_too_large"
    # poison: the model refused this one clip, and will again
    MODEL_REJECTED = "model_rejected"
    # poison: a fault of ours that this one record brings out, and will again
    ROUTER_FAULT = "router_fault"
    # retryable
    AUDIO_IO = "audio_io"
    MODEL_UNAVAILABLE = "model_unavailable"
    MODEL_TIMEOUT = "model_timeout"
    MODEL_OUT_OF_MEMORY = "model_out_of_memory"
    ROUTER_UNAVAILABLE = "router_unavailable"
    OVERLOADED = "overloaded"
    # suspect
    MODEL_DIED = "model_died"
    ROUTER_DIED = "router_died"


_RETRYABLE = frozenset(
    {
        ErrorCode.AUDIO_IO,
        ErrorCode.MODEL_UNAVAILABLE,
        ErrorCode.MODEL_TIMEOUT,
        ErrorCode.MODEL_OUT_OF_MEMORY,
        ErrorCode.ROUTER_UNAVAILABLE,
        ErrorCode.OVERLOADED,
    }
)


_SUSPECT = frozenset({ErrorCode.MODEL_DIED, ErrorCode.ROUTER_DIED})


def failure_class(code: ErrorCode) -> FailureClass:
    """The class that `code` belongs to."""
    if code in _RETRYABLE:
        return FailureClass.RETRYABLE
    if code in _SUSPECT:
        return FailureClass.SUSPECT
    return FailureClass.POISON


class RecordError(msgspec.Struct, frozen=True, kw_only=True):
    """One record that was not transcribed, and why.

    `message` is for people: it names the key or the file as the record named it. It goes to the
    dead letters, never to a log (paths are personal data); log `code` and `id`.
    """

    id: str
    code: ErrorCode
    message: str
    model: str | None = None

    @property
    def failure(self) -> FailureClass:
        return failure_class(self.code)
