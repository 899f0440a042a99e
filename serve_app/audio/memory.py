"""A limit on the audio that a Router holds in memory."""

from __future__ import annotations

import asyncio


class AudioMemory:
    """Counts the bytes of decoded audio, and makes readers wait above a limit.

    How long a clip is shows only when it is decoded, so the limit is soft: it is exceeded by at
    most what one reader takes at a time. Belongs to one event loop.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._below_limit = asyncio.Event()
        self._below_limit.set()
        self.held_bytes = 0

    @property
    def full(self) -> bool:
        """Whether the limit is reached."""
        return self.held_bytes >= self._limit_bytes

    async def wait_for_room(self) -> None:
        """Wait until less than the limit is held."""
        await self._below_limit.wait()

    def take(self, size: int) -> None:
        """Count `size` bytes as held."""
        self._change(size)

    def release(self, size: int) -> None:
        """Count `size` bytes as freed."""
        self._change(-size)

    def _change(self, size: int) -> None:
        self.held_bytes += size
        if self.full:
            self._below_limit.clear()
        else:
            self._below_limit.set()
