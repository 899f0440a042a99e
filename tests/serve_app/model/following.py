"""Replicas that follow an alias: what tests ask of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from serve_app.model.protocol import Reply
from serve_app.model.replica import DomainModel
from tests.serve_app.conftest import tone

#: Starts a replica, with settings of its model; `cache` says whether it has copies of versions.
Make = Callable[..., Awaitable[DomainModel]]


async def ask(replica: DomainModel) -> tuple[str, str]:
    """The text that it answers with, and the version that it says made that."""
    reply: Reply = await replica.transcribe([tone(0.1)], 16_000)
    return getattr(reply.outcomes[0].result, "text", ""), reply.version


async def until(condition: Callable[[], Awaitable[bool]], timeout_s: float = 60.0) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(timeout_s):
        while not await condition():
            await asyncio.sleep(0.01)


async def serves(replica: DomainModel, version: str) -> bool:
    """Whether it serves a version."""
    return (await replica.info()).version == version


async def refused(replica: DomainModel) -> bool:
    """Whether it says that it does not serve what its alias names."""
    return bool((await replica.info()).refused)
