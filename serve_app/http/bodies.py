"""The body of a request, bounded in bytes and in time while it arrives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from serve_app.http.errors import ApiError


async def receive(
    chunks: AsyncIterator[bytes],
    take: Callable[[bytes], Awaitable[object]],
    *,
    max_bytes: int,
    timeout_s: float,
    too_large: ApiError,
) -> None:
    """Hand each chunk to `take`, as they arrive.

    Args:
        max_bytes: of the body; `too_large` is raised over the chunk that exceeds it.
        timeout_s: longest time for the body to arrive.

    Raises:
        ApiError: 408, or `too_large`.
    """
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
            408, f"the body took more than {timeout_s:g} s to arrive", code="upload_timeout"
        ) from None
