"""A `Backend` whose connection to Ray lives in a process of its own.

Ray's client ends its process when the cluster is gone for a minute, or its raylet dies. A stream
worker must outlive that: it pauses, and goes on with the next application. So `RouterLink` starts
`router_process`, passes calls to it, and starts it again when it has ended.

Importing this module, and using it, does not import Ray.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from multiprocessing import Pipe
from typing import Any

from schemas.manifest import ManifestRecord
from schemas.records_call import encoded_call, results_in
from schemas.requests import DEFAULT_OPTIONS, CallOptions
from schemas.settings import Settings, settings_digest
from serve_app.audio.clip import Recording
from serve_app.cluster import announcements
from serve_app.cluster.announcements import OtherSettingsError, StartingError
from serve_app.cluster.router_messages import Answer, Call, Join, Start
from serve_app.router.protocol import Identity, Probe
from serve_app.router.results import Result

logger = logging.getLogger(__name__)

#: Longest wait for the process to connect: it imports Ray first.
CONNECT_S = 60.0
_END_S = 5.0
#: How often it is looked whether an application that starts has come up, and for how long:
#: `chorus serve` itself gives up after 600 s.
_LOOK_S = 0.1
_START_S = 900.0


class RouterLink:
    """Calls the Router of the application that the settings name.

    Without an address, it is the one that a `chorus serve` with the same settings has announced on
    this machine (`announcements`), so that its successor is found too. Used from one event loop;
    `open` and `close` from any thread.

    Args:
        settings: those that the application must have.
        address: of its Ray cluster; None for the announced one.
    """

    def __init__(self, settings: Settings, address: str | None = None) -> None:
        self._app = settings.serve.app
        self._digest = settings_digest(settings)
        self._timeout_s = settings.stream.call_timeout_s
        self._fixed = address
        self._lock = threading.Lock()
        self._process: _Process | None = None
        self._spare: _Process | None = None  # started before it is known what it connects to
        self._said = ""
        self._closed = False

    def prepare(self) -> None:
        """Start the process, which imports Ray, before `open`. Returns at once.

        Not where the application's cluster is about to start on this machine: that needs the cores
        more, and nothing waits for the process yet.
        """
        try:
            self._address()
        except StartingError as error:
            self._join(error.cluster)
        except (OSError, OtherSettingsError):
            return  # `open` says so
        else:
            self._spare = _Process()

    def _join(self, cluster: str) -> None:
        """Start the process and have it connect to a cluster, once there is one."""
        spare = self._spare
        if not cluster or (spare is not None and spare.address == cluster):
            return
        if spare is not None:
            spare.end()
        self._spare = spare = _Process()
        spare.join(cluster)
        if self._closed:
            spare.end()

    def open(self) -> None:
        """Connect, and log to which application. Blocks for seconds.

        One that starts on this machine is waited for. The application need not be up yet where an
        address was given.

        Raises:
            ConnectionError: there is no such cluster, or no announced application.
            OtherSettingsError: the application runs with other settings.
        """
        try:
            self._connected()
        except StartingError as error:
            logger.info("%s; waiting for it", error)
            self._await_start()

    def _address(self) -> str:
        return self._fixed or announcements.find(self._app, self._digest)

    def _await_start(self) -> None:
        deadline = time.monotonic() + _START_S
        while not self._closed:
            time.sleep(_LOOK_S)
            try:
                self._connected()
                return
            except StartingError as error:
                self._join(error.cluster)
                if time.monotonic() > deadline:
                    raise ConnectionError(f"{error}, and was not up in {_START_S:g} s") from None
        raise ConnectionError("the worker stops")

    def close(self) -> None:
        """End the process; calls under way fail. Idempotent."""
        self._closed = True
        for process in (self._process, self._spare):
            if process is not None:
                process.end()

    async def transcribe(
        self,
        records: Sequence[ManifestRecord],
        options: CallOptions = DEFAULT_OPTIONS,
        clips: Sequence[Recording] | None = None,
    ) -> list[Result]:
        """See `RouterClient.transcribe`.

        Raises:
            ConnectionError: there is no application to ask, or the connection ended meanwhile.
        """
        call = encoded_call(records, options, self._digest)
        return results_in(await self._call("transcribe_encoded", call, clips))

    async def probe(self, timeout_s: float = 5.0) -> Probe:
        """See `RouterClient.probe`; it takes longer where it has to connect."""
        try:
            probe: Probe = await self._call("probe", timeout_s)
        except ConnectionError:
            return Probe(router=False)
        if probe.router:
            self._said = ""
        else:
            await self._explain()
            await asyncio.to_thread(self._follow)
        return probe

    async def _explain(self) -> None:
        """Say so where the application is there and its settings have changed."""
        try:
            identity: Identity = await self._call("identity")
        except ConnectionError:
            return
        if identity.settings != self._digest:
            self._say(self._other_settings())

    async def _call(self, method: str, *arguments: Any) -> Any:
        process = self._process
        if process is None or not process.alive:
            try:
                process = await asyncio.to_thread(self._connected)
            except OtherSettingsError as error:
                raise ConnectionError(str(error)) from None
        number, answer = process.call(method, *arguments)
        try:
            return await asyncio.wrap_future(answer)
        except asyncio.CancelledError:
            process.cancel(number)
            raise

    def _connected(self) -> _Process:
        """The process, which is started if there is none."""
        with self._lock:
            if self._process is not None and self._process.alive:
                return self._process
            if self._process is not None and not self._said:
                self._say(f"the connection to application {self._app} has ended; looking for it")
            try:
                self._process, identity = self._start()
            except (ConnectionError, OtherSettingsError) as error:
                self._say(str(error))
                raise
            self._said = ""
        models = f"models {', '.join(identity.models)}" if identity else "which is not up yet"
        if identity and identity.missing:
            models += f", without {', '.join(identity.missing)}"
        logger.info(
            "application %s on Ray at %s, settings %s, %s",
            self._app,
            self._process.address,
            self._digest[:12],
            models,
        )
        return self._process

    def _start(self) -> tuple[_Process, Identity | None]:
        address = self._address()
        announcements.check_answers(address)
        if self._closed:
            raise ConnectionError("the worker stops")
        start = Start(
            app=self._app, settings=self._digest, address=address, timeout_s=self._timeout_s
        )
        spare, self._spare = self._spare, None
        if spare is not None:
            try:
                return spare, self._begin(spare, start)
            except ConnectionError as error:
                logger.debug("the process that was started before cannot be used: %s", error)
        process = _Process()
        return process, self._begin(process, start)

    def _begin(self, process: _Process, start: Start) -> Identity | None:
        """Have `process` connect; it is ended if it does not, or finds other settings."""
        try:
            if process.address not in ("", start.address):
                raise ConnectionError(f"it is connected to {process.address}")
            process.begin(start)
            identity = process.identity()
            if identity is not None and identity.settings != self._digest:
                raise OtherSettingsError(self._other_settings(start.address))
        except BaseException:
            process.end()
            raise
        return identity

    def _other_settings(self, address: str | None = None) -> str:
        where = f" at {address}" if address else ""
        return (
            f"the application `{self._app}`{where} runs with other models, plans, rules or limits "
            "than these settings; use its settings, or another application"
        )

    def _follow(self) -> None:
        """End the connection where the application has been announced on another cluster."""
        process = self._process
        if self._fixed is not None or process is None:
            return
        try:
            address = announcements.find(self._app, self._digest)
        except (OSError, OtherSettingsError):
            return
        if address != process.address:
            process.end()

    def _say(self, reason: str) -> None:
        """Log once why there is no connection."""
        if reason != self._said and self._process is not None:
            logger.warning("%s", reason)
        self._said = reason


class _Process:
    """A running `router_process`, and the calls that are under way in it.

    Attributes:
        address: of the cluster that it is connected to; empty before `join` and `begin`.
    """

    def __init__(self) -> None:
        self.address = ""
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._connected: Future[Any] = Future()
        self._calls: dict[int, Future[Any]] = {0: self._connected}
        self._connection, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "serve_app.cluster.router_process", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C must not end it before its calls are finished
            )
        threading.Thread(target=self._read, name="router-link", daemon=True).start()

    def join(self, cluster: str) -> None:
        """Have it connect to a cluster before `begin`."""
        self.address = cluster
        self._send(Join(cluster))

    def begin(self, start: Start) -> None:
        """Have it connect, if it has not, and tell it the application."""
        self.address = start.address
        self._send(start)

    @property
    def alive(self) -> bool:
        """Whether it can take calls."""
        return self._process.poll() is None and not self._connection.closed

    def identity(self) -> Identity | None:
        """Wait until it is connected; what the application serves, None if it is not up yet.

        Raises:
            ConnectionError: it could not connect in time.
        """
        try:
            found: Identity | None = self._connected.result(CONNECT_S)
        except TimeoutError:
            raise ConnectionError(
                f"the Ray cluster at {self.address} did not answer within {CONNECT_S:g} s"
            ) from None
        return found

    def call(self, method: str, *arguments: Any) -> tuple[int, Future[Any]]:
        """Begin a call; its number, and its answer, which fails with `ConnectionError`."""
        number, answer = next(self._numbers), Future[Any]()
        self._calls[number] = answer
        self._send(Call(number, method, arguments))
        if not self.alive:
            self._fail_all()
        return number, answer

    def cancel(self, number: int) -> None:
        """Give up a call."""
        if self._calls.pop(number, None) is not None:
            self._send(Call(number, "cancel"))

    def end(self) -> None:
        """End the process, and fail its calls."""
        self._process.kill()
        self._process.wait(_END_S)

    def _send(self, message: Join | Start | Call) -> None:
        try:
            with self._lock:
                self._connection.send(message)
        except OSError:
            self._fail_all()

    def _read(self) -> None:
        try:
            while True:
                answer: Answer = self._connection.recv()
                waiting = self._calls.pop(answer.number, None)
                if waiting is None or not waiting.set_running_or_notify_cancel():
                    continue
                if answer.failure is not None:
                    waiting.set_exception(ConnectionError(answer.failure))
                else:
                    waiting.set_result(answer.result)
        except (EOFError, OSError):
            pass  # it has ended
        finally:
            self._connection.close()
            self._process.kill()
            self._process.wait()
            self._fail_all()

    def _fail_all(self) -> None:
        for number in list(self._calls):
            waiting = self._calls.pop(number, None)
            if waiting is not None and waiting.set_running_or_notify_cancel():
                waiting.set_exception(ConnectionError("the connection to Ray has ended"))
