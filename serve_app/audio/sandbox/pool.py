"""The pool of worker processes that decodes uploads."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import math
import mmap
import os
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import Self

import msgspec
import numpy as np

from schemas.channels import OneChannel
from schemas.failures import ErrorCode
from schemas.settings import AudioSettings
from serve_app.audio.clip import SAMPLE_RATE, Clip, Recording
from serve_app.audio.errors import AudioError, from_os_error
from serve_app.audio.sandbox.messages import (
    MAX_REFUSAL_LENGTH,
    Decoded,
    Refused,
    Request,
    WorkerOptions,
    crash_error,
    unavailable_error,
)
from serve_app.audio.sandbox.process import Worker

#: What decoders need in addition to the clip: tables, blocks, the index of a long film.
_DECODER_BYTES = 256 << 20
#: Characters of the longest name of an upload in a message.
_MAX_NAME_LENGTH = 200


class MediaDecoder:
    """Decodes uploads in a pool of worker processes. Belongs to one event loop.

    As an asynchronous context manager it starts the workers and ends them.

    Args:
        settings: the limits; the roots play no part.
        workers: number of processes; each decodes one request at a time, further requests wait.
        sample_rate: hertz of the clips.
        timeout_s: longest time that a request may take a worker.
        memory_bytes: address space that a request may take in addition to that of an idle worker;
            None computes it from the longest audio that `settings` allow.
        max_requests: requests after which a worker is replaced.
    """

    def __init__(
        self,
        settings: AudioSettings,
        *,
        workers: int = 2,
        sample_rate: int = SAMPLE_RATE,
        timeout_s: float = 60.0,
        memory_bytes: int | None = None,
        max_requests: int = 500,
    ) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        # A resampler rounds, so a clip may be a few samples longer.
        self._max_samples = math.ceil(settings.max_seconds * sample_rate) + 16
        options = WorkerOptions(
            limits=msgspec.structs.replace(settings, roots=["."]),
            sample_rate=sample_rate,
            # The clip is there twice, while it is put together and when it is handed over.
            memory_bytes=memory_bytes or 2 * 4 * self._max_samples + _DECODER_BYTES,
            cpu_s=math.ceil(timeout_s) + 1,
            max_requests=max_requests,
        )
        self._workers = [Worker(options) for _ in range(workers)]
        # the last one first: so no more are started than are needed at once
        self._free: asyncio.LifoQueue[Worker] = asyncio.LifoQueue()
        for worker in self._workers:
            self._free.put_nowait(worker)
        self._closed = False

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Start all workers and wait until they are ready. Without it, requests start them.

        Raises:
            AudioError: `AUDIO_IO`: one does not start; the log says why.
        """
        await asyncio.gather(*(self._start_one() for _ in self._workers))

    async def close(self) -> None:
        """End all workers. Requests under way or waiting fail with `AUDIO_IO`. Idempotent."""
        self._closed = True
        for worker in self._workers:
            worker.kill()
        while not self._free.empty():
            self._free.get_nowait().end()
        for worker in self._workers:
            await worker.wait_ended()

    async def decode(
        self,
        source: int | str | os.PathLike[str],
        *,
        name: str = "the file",
        channel: OneChannel | None = None,
    ) -> Recording:
        """The whole audio of an upload: mono float32 in [-1, 1], shape [samples].

        Cancelling it kills the worker, so the work stops at once.

        Args:
            source: descriptor of a regular file, with a name or without, whose position neither
                matters nor moves; or a path, which must not be the uploader's choice.
            name: what messages call the file; never logged.
            channel: see `serve_app.audio.downmix.mixed`.

        Raises:
            AudioError: the message is for whoever sent the file. Codes:

                - `AUDIO_UNSUPPORTED`: another format or codec, too many channels, a sample rate
                  beyond the limits, or float samples of another scale.
                - `AUDIO_CHANNEL`: there is no such channel.
                - `AUDIO_UNDECODABLE`: not audio, damaged or cut short; or it crashed the decoder,
                  or took too much memory or time.
                - `AUDIO_EMPTY`: under 10 ms of audio, or a film without sound.
                - `AUDIO_TOO_LONG`: more than `max_seconds`.
                - `AUDIO_TOO_LARGE`: more than `max_bytes`.
                - `AUDIO_IO`: the pool failed, or is closing; worth another try.
                - `AUDIO_MISSING`, `AUDIO_UNREADABLE`: `source` is not a file that may be read.
        """
        try:
            return await self.decode_segment(source, channel=channel)
        except AudioError as error:
            shown = _printable(name, _MAX_NAME_LENGTH)
            raise AudioError(error.code, f"{shown} {self._explain(error)}") from None

    async def decode_segment(
        self,
        source: int | str | os.PathLike[str],
        *,
        offset: float = 0.0,
        duration: float | None = None,
        channel: OneChannel | None = None,
    ) -> Recording:
        """As `decode`, for a segment of a file that a record names.

        Args:
            source: as for `decode`.
            offset: start of the segment in seconds.
            duration: its length in seconds; None means to the end.
            channel: as for `decode`.

        Raises:
            AudioError: as of `decode`; the message is worded for a record, and names no file.
        """
        try:
            with _opened(source) as upload, _shared_memory(4 * self._max_samples) as memory:
                self._check_size(upload)
                async with self._borrowed_worker() as worker:
                    request = Request(offset, duration, channel)
                    reply = await worker.ask(request, [upload, memory], self._timeout_s)
                return await self._recording_of(reply, memory)
        except OSError as error:
            reason = from_os_error(error)
        except MemoryError:
            reason = unavailable_error()
        raise reason

    def _check_size(self, upload: int) -> None:
        size = os.fstat(upload).st_size
        if size > self._settings.max_bytes:
            raise AudioError(
                ErrorCode.AUDIO_TOO_LARGE,
                f"has {size} bytes, {self._settings.max_bytes} are allowed; compress or cut it",
            )

    def _explain(self, error: AudioError) -> str:
        """The message of `error`, reworded for an upload where needed.

        Two messages are worded for the records of a manifest, which name a segment of the file
        and are retried automatically.
        """
        if error.code is ErrorCode.AUDIO_TOO_LONG:
            return f"is longer than the limit of {self._settings.max_seconds:g} s; split it"
        if error.code is ErrorCode.AUDIO_IO:
            return "could not be decoded just now; try again"
        return error.message

    async def _start_one(self) -> None:
        async with self._borrowed_worker():
            pass

    @asynccontextmanager
    async def _borrowed_worker(self) -> AsyncIterator[Worker]:
        """A free worker, ready for a request and used by nobody else within the block.

        Its process is replaced when it has served its last request, and after any exception.
        """
        if self._closed:
            raise unavailable_error()
        worker = await self._free.get()
        try:
            if self._closed:
                raise unavailable_error()
            await worker.make_ready()
            yield worker
            if worker.is_spent:
                self._replace(worker)
        except BaseException as error:
            self._replace(worker)
            if self._closed and isinstance(error, AudioError):
                raise unavailable_error() from None
            raise
        finally:
            self._free.put_nowait(worker)

    def _replace(self, worker: Worker) -> None:
        """End the process and start another, so that no request waits for its imports.

        Where the process was not even ready, the next request tries to start one.
        """
        was_ready = worker.is_ready
        worker.end()
        if was_ready and not self._closed:
            with contextlib.suppress(OSError):
                worker.start()

    async def _recording_of(self, reply: Decoded | Refused, memory: int) -> Recording:
        if isinstance(reply, Refused):
            raise AudioError(reply.code, _printable(reply.message, MAX_REFUSAL_LENGTH))
        if reply.samples > self._max_samples:
            raise crash_error()
        # Unmapped with the last reference: the thread may outlive a request that is cancelled.
        mapped = mmap.mmap(memory, 4 * reply.samples, prot=mmap.PROT_READ)
        clip = await asyncio.to_thread(_checked_copy, np.frombuffer(mapped, np.float32))
        return Recording(clip, reply.channel, reply.channels, reply.similarity)


def _checked_copy(shared: Clip) -> Clip:
    """A copy of `shared`, which the worker could still change, with all values in [-1, 1].

    Raises:
        AudioError: `AUDIO_UNDECODABLE`: a value is outside, or NaN.
    """
    clip = shared.copy()
    if clip.min() >= -1 and clip.max() <= 1:  # neither holds for NaN
        return clip
    raise crash_error()


def _printable(text: str, longest: int) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text[:longest])


@contextmanager
def _opened(source: int | str | os.PathLike[str]) -> Iterator[int]:
    """`source`, opened once more: for reading only, with a position of its own."""
    path = f"/proc/self/fd/{source}" if isinstance(source, int) else source
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise AudioError(ErrorCode.AUDIO_UNREADABLE, "is not a regular file")
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _shared_memory(size: int) -> Iterator[int]:
    """Descriptor of `size` bytes of memory that take no space until they are written.

    The size is sealed: reading memory that a worker has made smaller would kill this process.
    """
    fd = os.memfd_create("clip", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, size)
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
        yield fd
    finally:
        os.close(fd)
