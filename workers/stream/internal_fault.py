"""A bug of Chorus that one record brings out, reported without the data of the record."""

from __future__ import annotations

import logging
import os
import traceback

from schemas.failures import ErrorCode, RecordError
from workers.stream.pending_record import PendingRecord

log = logging.getLogger(__name__)


def internal_fault(record: PendingRecord, error: Exception) -> RecordError:
    """What `record` is given up for: an exception that nobody expected.

    Its traceback is logged without its message, which may hold a path or a transcript.
    """
    name = type(error).__name__
    log.error("%s: internal error, please report it\n%s", record.name, _frames(error))
    reason = (
        f"internal error on this record ({name}); the worker's log says where. Please report it"
    )
    return RecordError(id=_id(record), code=ErrorCode.INTERNAL_FAULT, message=reason)


def log_frames(what: str, error: Exception) -> None:
    """Log the traceback of an unexpected `error`, as `internal_fault` does."""
    log.error("%s: internal error\n%s", what, _frames(error))


def _id(record: PendingRecord) -> str:
    return record.manifest.id if record.manifest is not None else record.name


def _frames(error: BaseException) -> str:
    lines = [
        f"    {os.path.basename(frame.filename)}:{frame.lineno} in {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    cause = error.__cause__
    before = [_frames(cause), "which led to"] if cause is not None else []
    return "\n".join([*before, f"{type(error).__name__}, raised through", *lines])
