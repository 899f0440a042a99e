"""Why a record was not transcribed: failure classes, error codes, and the typed error."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class FailureClass(StrEnum):
    """The kind of a failure, which decides what happens to the record.

    - ``retryable``: a fault of the system (no replica, time-out, overload). Tried again, without a
      limit while the backend is down, so that an outage makes no dead letters.
    - ``poison``: a fault of the record, which fails each time. Dead-lettered at once.
    - ``suspect``: a replica of a model, or of the Router, died while it worked on the record, or
      the model's engine or Chorus itself failed on it. Tried again in smaller and smaller groups;
      dead-lettered only if that keeps happening with this record alone.
    """

    RETRYABLE = "retryable"
    POISON = "poison"
    SUSPECT = "suspect"


class ErrorCode(StrEnum):
    """Every reason why a record is not transcribed; each has one class, see `failure_class`."""

    # poison: the record
    RECORD_JSON = "record_json"
    RECORD_SCHEMA = "record_schema"
    RECORD_VERSION = "record_version"
    # poison by decision: somebody has stepped over it (`chorus offsets skip`)
    RECORD_SKIPPED = "record_skipped"
    # poison: its audio
    AUDIO_MISSING = "audio_missing"
    AUDIO_OUTSIDE_ROOTS = "audio_outside_roots"
    AUDIO_UNREADABLE = "audio_unreadable"
    AUDIO_UNDECODABLE = "audio_undecodable"
    AUDIO_UNSUPPORTED = "audio_unsupported"
    AUDIO_CHANNEL = "audio_channel"
    AUDIO_EMPTY = "audio_empty"
    AUDIO_TOO_LONG = "audio_too_long"
    AUDIO_TOO_LARGE = "audio_too_large"
    # poison: the model refused this one clip, and would again
    MODEL_REJECTED = "model_rejected"
    # poison: the model only repeated itself on this clip, which some do where nobody speaks
    MODEL_REPEATS = "model_repeats"
    # poison: the only model for it is not required, and did not load; replay it when it is there
    MODEL_MISSING = "model_missing"
    # poison: a bug of Chorus that this one record triggers each time
    ROUTER_FAULT = "router_fault"
    # retryable
    AUDIO_IO = "audio_io"
    MODEL_UNAVAILABLE = "model_unavailable"
    MODEL_TIMEOUT = "model_timeout"
    MODEL_OUT_OF_MEMORY = "model_out_of_memory"
    ROUTER_UNAVAILABLE = "router_unavailable"
    OVERLOADED = "overloaded"
    OTHER_SETTINGS = "other_settings"
    # suspect
    MODEL_DIED = "model_died"
    MODEL_FAULT = "model_fault"
    ROUTER_DIED = "router_died"
    # suspect: a bug of Chorus that one of the records of a call brings out
    INTERNAL_FAULT = "internal_fault"


_RETRYABLE = frozenset(
    {
        ErrorCode.AUDIO_IO,
        ErrorCode.MODEL_UNAVAILABLE,
        ErrorCode.MODEL_TIMEOUT,
        ErrorCode.MODEL_OUT_OF_MEMORY,
        ErrorCode.ROUTER_UNAVAILABLE,
        ErrorCode.OVERLOADED,
        ErrorCode.OTHER_SETTINGS,
    }
)


_SUSPECT = frozenset(
    {
        ErrorCode.MODEL_DIED,
        ErrorCode.MODEL_FAULT,
        ErrorCode.ROUTER_DIED,
        ErrorCode.INTERNAL_FAULT,
    }
)


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
        """The failure class of `code`."""
        return failure_class(self.code)
