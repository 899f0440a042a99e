"""Unexpected errors in the Router, reported without the data of the record."""

from __future__ import annotations

from schemas.failures import ErrorCode, RecordError
from schemas.manifest import ManifestRecord
from serve_app.system.logs import log_location


def internal_error(record: ManifestRecord, error: Exception) -> RecordError:
    """Log a bug that `record` triggers, and make its typed error, so that other records go on."""
    log_location(error)
    reason = f"internal error on this record ({type(error).__name__}); please report it"
    return RecordError(id=record.id, code=ErrorCode.ROUTER_FAULT, message=reason)
