"""The pool of worker processes, for threads."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from schemas.channels import OneChannel
from schemas.settings import AudioSettings
from serve_app.audio.clip import Recording
from serve_app.audio.sandbox.pool import MediaDecoder

#: Longest time that a segment may take: it is decoded from the start of its file, which may be
#: long, on a machine that has other work.
_TIMEOUT_S = 300.0
Result = TypeVar("Result")


class ThreadDecoder:
    """Decodes segments of files in worker processes, for any number of threads.

    Nothing is started until the first file. The workers end with this process.

    Args:
        limits: on the audio, and on the threads that decode at once.
    """

    def __init__(self, limits: AudioSettings) -> None:
        self._limits = limits
        self._workers = min(limits.threads, os.cpu_count() or 1)
        self._lock = threading.Lock()
        self._decoders: dict[int, MediaDecoder] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0

    def decode(
        self,
        fd: int,
        *,
        offset: float,
        duration: float | None,
        channel: OneChannel | None,
        sample_rate: int,
    ) -> Recording:
        """The segment [offset, offset + duration) of the file open at `fd`; blocks.

        Args:
            fd: descriptor of a regular file, whose position neither matters nor moves.
            offset: in seconds.
            duration: in seconds; None means to the end.
            channel: see `serve_app.audio.downmix.mixed`.
            sample_rate: hertz of the result.

        Raises:
            AudioError: as of `MediaDecoder.decode_segment`.
        """
        with self._lock:
            if self._loop is None or self._process != os.getpid():  # a fork has no threads
                self._loop, self._process = _running_loop(), os.getpid()
                self._decoders.clear()
            decoder = self._decoders.get(sample_rate)
            if decoder is None:
                decoder = _run(self._make(sample_rate), self._loop)
                self._decoders[sample_rate] = decoder
            loop = self._loop
        segment = decoder.decode_segment(fd, offset=offset, duration=duration, channel=channel)
        return _run(segment, loop)

    async def _make(self, sample_rate: int) -> MediaDecoder:
        return MediaDecoder(
            self._limits, workers=self._workers, sample_rate=sample_rate, timeout_s=_TIMEOUT_S
        )


def _running_loop() -> asyncio.AbstractEventLoop:
    """An event loop that runs in a thread of its own until the process ends."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="media decoder", daemon=True).start()
    return loop


def _run(work: Coroutine[Any, Any, Result], loop: asyncio.AbstractEventLoop) -> Result:
    return asyncio.run_coroutine_threadsafe(work, loop).result()
