"""Unexpected errors, told without what they may hold of a record."""

from __future__ import annotations

import logging
import traceback

from schemas.failures import ErrorCode, RecordError
from schemas.manifest import ManifestRecord

logger = logging.getLogger(__name__)


def own_fault(record: ManifestRecord, error: Exception) -> RecordError:
    """A fault of ours that this record brings out: it must not cost its neighbours anything."""
    log_where(error)
    reason = f"Chorus itself fails on this record ({type(error).__name__}); please report it"
    return RecordError(id=record.id, code=ErrorCode.ROUTER_FAULT, message=reason)


def log_where(error: Exception) -> None:
    """Log the place of an unexpected error; its message may hold a path or a transcript."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    logger.error("%s at %s:%s", type(error).__name__, where.name, where.lineno)
