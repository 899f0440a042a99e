"""Decoding of files that nobody vouches for: in processes of their own, which may die of it.

A decoder is a large parser in C. A file made for it can crash it, keep it busy for ever or grow
without end; so it runs in a worker process with limits on memory, time and files, and takes down
itself and one request. A worker starts with the decoders imported, which takes half a second, and
serves many requests, one at a time.

A worker gets the upload as an open descriptor, and neither its name nor the environment of the
parent. The clip comes back in memory that the parent has made and sized, and is checked there. It
is no prison: a file that takes over the decoder may do what this user may do on this machine.

This module is both ends: `MediaDecoder` in the parent and, run as a program, the worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import logging
import math
import mmap
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Annotated, Self

import msgspec
import numpy as np

from schemas.failures import ErrorCode
from schemas.settings import AudioSettings
from serve_app.audio.errors import AudioError, from_os_error
from serve_app.engines.base import Clip

logger = logging.getLogger(__name__)

#: Longest wait for a worker's imports; only a machine in trouble takes so long.
_START_SECONDS = 60.0
#: What decoders need beside the clip: tables, blocks, the index of a long film.
_DECODER_BYTES = 256 << 20
#: The standard streams, the two of a request, a copy of one, and some to spare.
_MAX_DESCRIPTORS = 16
_MAX_MESSAGE_BYTES = 8_192
#: What a worker may say of a file.
_REFUSALS = frozenset(
    {
        ErrorCode.AUDIO_UNDECODABLE,
        ErrorCode.AUDIO_UNSUPPORTED,
        ErrorCode.AUDIO_EMPTY,
        ErrorCode.AUDIO_TOO_LONG,
        ErrorCode.AUDIO_TOO_LARGE,
        ErrorCode.AUDIO_IO,
    }
)
#: All that a worker sees of the parent's environment, which holds passwords.
_VARIABLES = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONHOME", "TZ")


class _Task(msgspec.Struct, frozen=True):
    """What a worker is started with.

    Attributes:
        limits: without the roots, which are not its business.
        sample_rate: hertz of the clips.
        memory_bytes: address space for a request, beyond what an idle worker has.
        cpu_s: CPU seconds for a request.
        max_requests: requests that it will serve.
    """

    limits: AudioSettings
    sample_rate: int
    memory_bytes: int
    cpu_s: int
    max_requests: int


class _Decoded(msgspec.Struct, frozen=True, tag=True):
    """The shared memory begins with a clip of so many samples."""

    samples: Annotated[int, msgspec.Meta(gt=0)]


class _Refused(msgspec.Struct, frozen=True, tag=True):
    """The file is at fault; see `AudioError`."""

    code: ErrorCode
    message: Annotated[str, msgspec.Meta(max_length=1_000)]


class _Broken(msgspec.Struct, frozen=True, tag=True):
    """A worker's last word: an unexpected error and where it was raised. The error's own message
    may hold anything, so it is left out."""

    where: Annotated[str, msgspec.Meta(pattern=r"^[\w<>.: ]{0,200}$")]


_Reply = _Decoded | _Refused | _Broken


# --- The parent ------------------------------------------------------------------------------


class MediaDecoder:
    """Decodes uploads in a pool of worker processes. Belongs to one event loop.

    As an asynchronous context manager it starts the workers and ends them.

    Args:
        settings: the limits; the roots play no part.
        workers: processes, so requests at once; further ones wait.
        sample_rate: hertz of the clips.
        timeout_s: longest time that a request may take a worker.
        memory_bytes: what a request may take beyond an idle worker, in address space; None allows
            for the longest audio that `settings` do.
        max_requests: requests after which a worker is replaced.
    """

    def __init__(
        self,
        settings: AudioSettings,
        *,
        workers: int = 2,
        sample_rate: int = 16_000,
        timeout_s: float = 60.0,
        memory_bytes: int | None = None,
        max_requests: int = 500,
    ) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        # A resampler rounds; a few samples more are no lie.
        self._max_samples = math.ceil(settings.max_seconds * sample_rate) + 16
        task = _Task(
            limits=msgspec.structs.replace(settings, roots=["."]),
            sample_rate=sample_rate,
            # The clip is there twice, while it is put together and when it is handed over.
            memory_bytes=memory_bytes or 2 * 4 * self._max_samples + _DECODER_BYTES,
            cpu_s=math.ceil(timeout_s) + 1,
            max_requests=max_requests,
        )
        self._workers = [_Worker(task) for _ in range(workers)]
        self._free: asyncio.Queue[_Worker] = asyncio.Queue()
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

    async def decode(self, source: int | str | os.PathLike[str], *, name: str = "the file") -> Clip:
        """The whole audio of an upload: mono float32 in [-1, 1], shape [samples].

        To cancel it kills the worker, so the work stops at once.

        Args:
            source: descriptor of a regular file, with a name or without, whose position neither
                matters nor moves; or a path, which must not be the uploader's choice.
            name: what messages call the file; never logged.

        Raises:
            AudioError: the message is for whoever sent the file. Codes:

                - `AUDIO_UNSUPPORTED`: another format or codec, too many channels, a sample rate
                  beyond the limits, or float samples of another scale.
                - `AUDIO_UNDECODABLE`: not audio, damaged or cut short; or it crashed the decoder,
                  or took too much memory or time.
                - `AUDIO_EMPTY`: under 10 ms of audio, or a film without sound.
                - `AUDIO_TOO_LONG`: more than `max_seconds`.
                - `AUDIO_TOO_LARGE`: more than `max_bytes`.
                - `AUDIO_IO`: we failed, or are closing; worth another try.
                - `AUDIO_MISSING`, `AUDIO_UNREADABLE`: `source` is not a file that we may read.
        """
        try:
            with _opened(source) as upload, _shared_memory(4 * self._max_samples) as memory:
                self._check_size(upload)
                async with self._turn() as worker:
                    reply = await worker.ask([upload, memory], self._timeout_s)
                return await self._take(reply, memory)
        except AudioError as error:
            reason = error
        except OSError as error:
            reason = from_os_error(error)
        except MemoryError:
            reason = _own_fault()
        raise AudioError(reason.code, f"{_printable(name, 200)} {self._explain(reason)}")

    def _check_size(self, upload: int) -> None:
        size = os.fstat(upload).st_size
        if size > self._settings.max_bytes:
            raise AudioError(
                ErrorCode.AUDIO_TOO_LARGE,
                f"has {size} bytes, {self._settings.max_bytes} are allowed; compress or cut it",
            )

    def _explain(self, error: AudioError) -> str:
        """The message of `error`. Two are told anew: they speak of the records of a manifest, which
        name a segment and are tried again without anybody's doing."""
        if error.code is ErrorCode.AUDIO_TOO_LONG:
            return f"is longer than {self._settings.max_seconds:g} s, which is the most; cut it"
        if error.code is ErrorCode.AUDIO_IO:
            return "could not be decoded just now; try again"
        return error.message

    async def _start_one(self) -> None:
        async with self._turn():
            pass

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[_Worker]:
        """A worker of one's own, ready for a request. It is replaced when it has served its time,
        and where the turn ends with an exception, whichever it is."""
        if self._closed:
            raise _own_fault()
        worker = await self._free.get()
        try:
            if self._closed:
                raise _own_fault()
            await worker.make_ready()
            yield worker
            if worker.is_spent:
                self._replace(worker)
        except BaseException as error:
            self._replace(worker)
            if self._closed and isinstance(error, AudioError):
                raise _own_fault() from None
            raise
        finally:
            self._free.put_nowait(worker)

    def _replace(self, worker: _Worker) -> None:
        """End the process and start another, so that no request waits for its imports. Where it
        had not even started, the next request may try."""
        had_started = worker.is_ready
        worker.end()
        if had_started and not self._closed:
            with contextlib.suppress(OSError):
                worker.start()

    async def _take(self, reply: _Decoded | _Refused, memory: int) -> Clip:
        if isinstance(reply, _Refused):
            raise AudioError(reply.code, _printable(reply.message, 1_000))
        if reply.samples > self._max_samples:
            raise _crashed()
        # Unmapped with the last reference: the thread may outlive a request that is cancelled.
        mapped = mmap.mmap(memory, 4 * reply.samples, prot=mmap.PROT_READ)
        return await asyncio.to_thread(_checked_copy, np.frombuffer(mapped, np.float32))


class _Worker:
    """The place of one worker process, and the process that holds it."""

    def __init__(self, task: _Task) -> None:
        # -P: modules are never taken from the working directory, which may be anybody's.
        said = msgspec.json.encode(task).decode()
        self._command = [sys.executable, "-P", "-m", __name__, said]
        self._max_requests = task.max_requests
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket
        self._requests = 0
        self.is_ready = False
        self._ending: set[asyncio.Future[int]] = set()

    @property
    def is_spent(self) -> bool:
        return self._requests >= self._max_requests

    def start(self) -> None:
        """Start a process; OSError where the system refuses."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    cwd="/",
                    env=_environment(),
                    start_new_session=True,  # Ctrl-C is for the parent, which then ends us
                )
            except BaseException:
                ours.close()
                raise
        ours.setblocking(False)
        self._socket = ours
        self._requests = 0
        self.is_ready = False

    async def make_ready(self) -> None:
        """See to a process that is ready for a request; `AUDIO_IO` if that fails."""
        if self._process is not None and self._process.poll() is not None:
            self.end()  # it died between requests, so of none of them
        if self._process is None:
            try:
                self.start()
            except OSError as error:
                logger.error("a media decoder cannot be started: %s", error.strerror)
                raise _own_fault() from None
        if self.is_ready:
            return
        try:
            self.is_ready = bool(await self._receive(_START_SECONDS))
        except TimeoutError:
            self.is_ready = False
        if not self.is_ready:
            logger.error("a media decoder did not start")
            raise _own_fault()

    async def ask(self, descriptors: Sequence[int], timeout_s: float) -> _Decoded | _Refused:
        """What the process makes of the upload and the memory at `descriptors`.

        Raises:
            AudioError: the process broke the rules or is broken, or took longer than `timeout_s`.
                It must be ended.
        """
        self._requests += 1
        try:
            socket.send_fds(self._socket, [b"decode"], descriptors)
        except OSError:  # it has ended before it saw the file
            raise _own_fault() from None
        try:
            said = await self._receive(timeout_s)
        except TimeoutError:
            logger.warning("a media decoder took longer than %g s", timeout_s)
            raise AudioError(
                ErrorCode.AUDIO_UNDECODABLE,
                f"kept the decoder busy for more than {timeout_s:g} s; cut it, or convert it to "
                "WAV or FLAC",
            ) from None
        if not said:
            logger.warning("a media decoder died: %s", await self._cause_of_death())
            raise _crashed()
        return _parse(said)

    async def _receive(self, timeout_s: float) -> bytes:
        """The next message; nothing where the process has ended."""
        async with asyncio.timeout(timeout_s):
            try:
                loop = asyncio.get_running_loop()
                return await loop.sock_recv(self._socket, _MAX_MESSAGE_BYTES)
            except ConnectionResetError:
                return b""

    async def _cause_of_death(self) -> str:
        assert self._process is not None
        self._process.kill()  # no matter where it is dying already
        status = await asyncio.to_thread(self._process.wait)
        return signal.strsignal(-status) or "" if status < 0 else f"status {status}"

    def kill(self) -> None:
        """Kill the process; who is waiting for it, notices."""
        if self._process is not None:
            self._process.kill()

    def end(self) -> None:
        """Kill the process, for which nobody waits, and leave the place empty."""
        process, self._process = self._process, None
        self.is_ready = False
        if process is None:
            return
        self._socket.close()
        process.kill()
        # In a thread, since the kernel takes a moment to free a large process.
        waiting = asyncio.get_running_loop().run_in_executor(None, process.wait)
        self._ending.add(waiting)
        waiting.add_done_callback(self._ending.discard)

    async def wait_ended(self) -> None:
        """Wait until the processes that have been killed are gone."""
        if self._process is not None:
            await asyncio.to_thread(self._process.wait)
        if self._ending:
            await asyncio.wait(self._ending)


def _parse(said: bytes) -> _Decoded | _Refused:
    """What a process says, which may be no worker of ours any more."""
    try:
        reply = msgspec.json.decode(said, type=_Reply)
    except msgspec.DecodeError:
        logger.warning("a media decoder does not talk sense")
        raise _crashed() from None
    if isinstance(reply, _Broken):
        logger.warning("a media decoder broke down: %s", reply.where)
        raise _crashed()
    if isinstance(reply, _Refused) and reply.code not in _REFUSALS:
        raise _crashed()
    return reply


def _checked_copy(shared: Clip) -> Clip:
    """A copy of `shared`, which a worker could still change; as `Clip` promises it."""
    clip = shared.copy()
    if clip.min() >= -1 and clip.max() <= 1:  # neither holds for NaN
        return clip
    raise _crashed()


def _own_fault() -> AudioError:
    return AudioError(ErrorCode.AUDIO_IO, "could not be decoded just now; try again")


def _crashed() -> AudioError:
    return AudioError(
        ErrorCode.AUDIO_UNDECODABLE,
        "crashed the decoder, so it is probably damaged; convert it to WAV or FLAC",
    )


def _printable(text: str, longest: int) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text[:longest])


def _environment() -> dict[str, str]:
    """The environment of a worker."""
    ours = str(Path(__file__).parents[2])
    path = [ours, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **{name: os.environ[name] for name in _VARIABLES if name in os.environ},
        "PYTHONPATH": os.pathsep.join(path),
        # A thread's stack and heap are address space too, and decoding takes one thread only.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }


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
    """Memory of `size` bytes that costs nothing until it is written, as a file whose size nobody
    can change any more: else reading it could be fatal."""
    fd = os.memfd_create("clip", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, size)
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
        yield fd
    finally:
        os.close(fd)


# --- The worker ------------------------------------------------------------------------------


def main() -> None:
    """Serve the parent at the other end of standard input, until it ends."""
    # Not at the top of the file: the parent needs no decoders.
    from serve_app.audio import media  # noqa: F401

    task = msgspec.json.decode(sys.argv[1], type=_Task)
    _restrict(task)
    with socket.socket(fileno=0) as connection:
        connection.send(b"ready")
        while _serve_one(connection, task):
            pass


def _serve_one(connection: socket.socket, task: _Task) -> bool:
    """Serve the next request; whether there may be another."""
    _, descriptors, _, _ = socket.recv_fds(connection, 16, 2)
    if len(descriptors) != 2:  # the parent has ended
        return False
    _limit_cpu(task.cpu_s)
    try:
        upload, memory = descriptors
        reply = _answer(upload, memory, task)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    connection.send(msgspec.json.encode(reply))
    return not isinstance(reply, _Broken)


def _answer(upload: int, memory: int, task: _Task) -> _Reply:
    from serve_app.audio.media import decode_media

    try:
        clip = decode_media(upload, sample_rate=task.sample_rate, limits=task.limits)
        with mmap.mmap(memory, clip.nbytes) as mapped:
            mapped.write(clip.data.cast("B"))
        return _Decoded(len(clip))
    except AudioError as error:
        return _refuse(error)
    except Exception as error:
        if isinstance(error, OSError) and error.errno != errno.ENOMEM:
            return _refuse(from_os_error(error))
        # Out of memory, or a fault of ours or of a library: who knows in what state it leaves us.
        place = traceback.extract_tb(error.__traceback__)[-1]
        return _Broken(f"{type(error).__name__} at {place.name}:{place.lineno}"[:200])


def _refuse(error: AudioError) -> _Refused:
    return _Refused(error.code, error.message[:1_000])


def _restrict(task: _Task) -> None:
    """Give up what decoding does not need, for good."""
    with contextlib.suppress(OSError):  # short of memory, the kernel is to take us first
        Path("/proc/self/oom_score_adj").write_text("1000")
    # What the libraries say may hold parts of a file. Errors until here were worth reading.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _limit(resource.RLIMIT_AS, pages * mmap.PAGESIZE + task.memory_bytes)
    _limit(resource.RLIMIT_CPU, _cpu_used() + task.cpu_s * (task.max_requests + 1))
    _limit(resource.RLIMIT_NOFILE, _MAX_DESCRIPTORS)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NPROC, 0)  # neither processes nor threads; root is exempt


def _limit(what: int, value: int) -> None:
    """Lower a limit for good; one that is lower already stays."""
    _, hard = resource.getrlimit(what)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (value, value))


def _limit_cpu(seconds: int) -> None:
    """From now on `seconds` of CPU time; then the kernel ends us. The parent's clock is faster,
    unless the parent is gone."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (min(_cpu_used() + seconds, hard), hard))


def _cpu_used() -> int:
    """CPU seconds of this process so far, rounded up."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return math.ceil(used.ru_utime + used.ru_stime)


if __name__ == "__main__":
    main()
