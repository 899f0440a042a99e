"""One worker process: started, asked, and ended."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from schemas.failures import ErrorCode
from serve_app.audio.errors import AudioError
from serve_app.audio.header import CONVERT
from serve_app.audio.sandbox.messages import (
    MAX_MESSAGE_BYTES,
    Decoded,
    Refused,
    Request,
    WorkerOptions,
    crash_error,
    parse_reply,
    unavailable_error,
)

logger = logging.getLogger(__name__)

#: Longest wait for a worker's imports; only an overloaded machine takes so long.
_START_SECONDS = 60.0
#: Longest wait for the end of a worker that has closed its connection.
_DYING_SECONDS = 5.0
#: The only variables of the parent's environment, which holds passwords, that a worker gets.
_VARIABLES = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONHOME", "TZ")
#: The program; a name, since the parent does not import it and the decoders with it.
_CHILD = "serve_app.audio.sandbox.child"
#: The folder that `serve_app` is in.
_ROOT = Path(__file__).parents[3]


class Worker:
    """A worker of the pool: one process at a time, and another one after that has ended.

    Args:
        options: what each process is started with.

    Attributes:
        is_ready: whether the process has finished its imports and can take a request.
    """

    def __init__(self, options: WorkerOptions) -> None:
        argument = msgspec.json.encode(options).decode()
        # -P: modules are never taken from the working directory, which may be anybody's.
        self._command = [sys.executable, "-P", "-m", _CHILD, argument]
        self._max_requests = options.max_requests
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket
        self._requests = 0
        self.is_ready = False
        self._ending: set[asyncio.Future[int]] = set()

    @property
    def is_spent(self) -> bool:
        """Whether the process has served as many requests as it may."""
        return self._requests >= self._max_requests

    def start(self) -> None:
        """Start a process; does not wait until it is ready.

        Raises:
            OSError: the system refuses.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    cwd="/",
                    env=_environment(),
                    start_new_session=True,  # Ctrl-C is for the parent, which then ends this one
                )
            except BaseException:
                ours.close()
                raise
        ours.setblocking(False)
        self._socket = ours
        self._requests = 0
        self.is_ready = False

    async def make_ready(self) -> None:
        """Start a process where there is none, and wait until it is ready for a request.

        Raises:
            AudioError: `AUDIO_IO`: it does not start; the log says why.
        """
        if self._process is not None and self._process.poll() is not None:
            self.end()  # it died between two requests, so neither is the cause
        if self._process is None:
            try:
                self.start()
            except OSError as error:
                logger.error("a media decoder cannot be started: %s", error.strerror)
                raise unavailable_error() from None
        if self.is_ready:
            return
        try:
            self.is_ready = bool(await self._receive(_START_SECONDS))
        except TimeoutError:
            self.is_ready = False
        if not self.is_ready:
            logger.error("a media decoder ended, or was not ready within %g s", _START_SECONDS)
            raise unavailable_error()

    async def ask(
        self, request: Request, descriptors: Sequence[int], timeout_s: float
    ) -> Decoded | Refused:
        """Have a file decoded.

        Args:
            request: the segment.
            descriptors: of the file, and of the memory for the clip.
            timeout_s: longest wait for the answer.

        Raises:
            AudioError: the process died, sent an invalid answer, or took longer than `timeout_s`.
                It must be ended.
        """
        self._requests += 1
        try:
            socket.send_fds(self._socket, [msgspec.json.encode(request)], descriptors)
        except OSError:  # it has ended before it saw the file
            raise unavailable_error() from None
        try:
            answer = await self._receive(timeout_s)
        except TimeoutError:
            logger.warning("a media decoder took longer than %g s; it is replaced", timeout_s)
            raise AudioError(
                ErrorCode.AUDIO_UNDECODABLE,
                f"kept the decoder busy for more than {timeout_s:g} s; cut it, or {CONVERT}",
            ) from None
        if not answer:
            status = await self._wait_dead()
            cause = signal.strsignal(-status) if status < 0 else f"status {status}"
            logger.warning("a media decoder died: %s; it is replaced", cause)
            # by the kernel: its memory is limited, so for what others take
            raise unavailable_error() if status == -signal.SIGKILL else crash_error()
        return parse_reply(answer)

    async def _receive(self, timeout_s: float) -> bytes:
        """The next message; empty where the process has ended."""
        async with asyncio.timeout(timeout_s):
            try:
                loop = asyncio.get_running_loop()
                return await loop.sock_recv(self._socket, MAX_MESSAGE_BYTES)
            except ConnectionResetError:
                return b""

    async def _wait_dead(self) -> int:
        """The exit status of the process, which has closed its connection."""
        process = self._process
        if process is None:
            return 0
        try:
            return await asyncio.to_thread(process.wait, _DYING_SECONDS)
        except subprocess.TimeoutExpired:  # it has closed its socket and still runs
            process.kill()
            await asyncio.to_thread(process.wait)
            return 0

    def kill(self) -> None:
        """Kill the process; a request that waits for it fails."""
        if self._process is not None:
            self._process.kill()

    def end(self) -> None:
        """Kill the process, which no request is waiting for, and forget it."""
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
        """Wait until all processes that have been killed are gone."""
        if self._process is not None:
            await asyncio.to_thread(self._process.wait)
        if self._ending:
            await asyncio.wait(self._ending)


def _environment() -> dict[str, str]:
    """The environment of a worker process."""
    path = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **{name: os.environ[name] for name in _VARIABLES if name in os.environ},
        "PYTHONPATH": os.pathsep.join(path),
        # A thread's stack and heap are address space too, and decoding takes one thread only.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
