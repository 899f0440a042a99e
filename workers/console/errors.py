"""What handlers raise, beside the errors of Litestar."""

from __future__ import annotations

from litestar.exceptions import HTTPException


class Unavailable(HTTPException):
    """Kafka, a cluster or a store does not answer; the message says which, and what to do."""

    status_code = 503
