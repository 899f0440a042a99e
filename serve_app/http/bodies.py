"""Receive the body of a request within limits on its size and its time, and store it."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager

from serve_app.http.errors import ApiError

logger = logging.getLogger(__name__)


async def receive(
    chunks: AsyncIterator[bytes],
    take: Callable[[bytes], Awaitable[object]],
    *,
    max_bytes: int,
    timeout_s: float,
    too_large: ApiError,
    declared: int | None = None,
) -> None:
    """Pass the chunks of a body to `take` as they arrive.

    Args:
        chunks: of the body.
        take: called with each chunk that is not empty.
        max_bytes: largest size of the body.
        timeout_s: longest time for the body to arrive.
        too_large: the error to raise at the chunk that exceeds `max_bytes`.
        declared: size in the request's headers: nothing is read of what will be too large.

    Raises:
        ApiError: 408, or `too_large`.
    """
    if declared is not None and declared > max_bytes:
        raise too_large
    received = 0
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in chunks:
                received += len(chunk)
                if received > max_bytes:
                    raise too_large
                if chunk:
                    await take(chunk)
    except TimeoutError:
        raise ApiError(
            408,
            f"the body took more than {timeout_s:g} s to arrive; send less, or try again",
            code="upload_timeout",
        ) from None


@contextmanager
def storing() -> Iterator[None]:
    """Within the block, a body is written to a temporary file.

    Raises:
        ApiError: 503 with the cause: the disk is full, or cannot be written.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror
        if error.errno == errno.ENOENT or reason is None:  # Python's message lists folders
            reason = "there is no folder for temporary files that can be written"
        logger.error("the body of a request cannot be stored: %s", reason)
        raise ApiError(
            503, f"the body cannot be stored just now: {reason}; try again", code="storage"
        ) from None


def declared_length(headers: Mapping[str, str]) -> int | None:
    """The size of a body in the headers of its request; None if they do not have it."""
    value = headers.get("content-length", "")
    return int(value) if value.isascii() and value.isdigit() else None
