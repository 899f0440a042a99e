"""Looking at the workers of a decoder, and waiting for them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import psutil

from schemas.settings import AudioSettings
from serve_app.audio import AudioError
from serve_app.audio.clip import Recording
from serve_app.audio.sandbox import MediaDecoder
from tests import waiting

LIMITS = AudioSettings(roots=["/"], max_seconds=20)
#: `await refused(code, path, by=decoder, name="the file")`
Refused = Callable[..., Awaitable[AudioError]]


def processes(of: MediaDecoder) -> list[psutil.Process]:
    """The worker processes of a decoder."""
    return [psutil.Process(worker._process.pid) for worker in of._workers if worker._process]


def process(of: MediaDecoder) -> psutil.Process:
    (only,) = processes(of)
    return only


until = partial(waiting.until, timeout_s=60)


async def begun(decoding: Awaitable[Recording]) -> asyncio.Task[Recording]:
    """A request that an idle worker has been given. The worker should be stopped."""
    task = asyncio.ensure_future(decoding)
    await asyncio.sleep(0)  # it runs until it waits for the answer
    assert isinstance(task, asyncio.Task)
    return task
