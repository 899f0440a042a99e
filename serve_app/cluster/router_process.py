"""The process that holds a Ray connection for another one; see `router_link`, which starts it.

It is given the number of an open connection, and ends when that is closed.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

from serve_app.cluster.announcements import check_answers
from serve_app.cluster.router_messages import Answer, Call, Join, Start
from serve_app.router.protocol import Identity
from serve_app.system.imports import quick_imports
from serve_app.system.log_format import log_to_stderr

#: How often, and how often in a row without an answer, the cluster is looked after. Ray's client
#: would go on for a minute, and then end the process all the same.
_LOOK_S = 1.0
_MISSES = 3


class RouterProcess:
    """Answers the calls that come over `connection`.

    Args:
        connection: to the process that started this one.
        start: the application.
    """

    def __init__(self, connection: Connection, start: Start) -> None:
        from serve_app.router.client import RouterClient

        self._connection = connection
        self._client = RouterClient(start.app, start.timeout_s, start.settings)
        self._calls: dict[int, asyncio.Task[None]] = {}

    async def identity(self) -> Identity | None:
        """What the application serves; None while it is not up."""
        try:
            return await self._client.identity()
        except ConnectionError:
            return None

    def take(self, call: Call) -> None:
        """Begin a call, or give one up. Called on the event loop."""
        if call.method == "cancel":
            if (task := self._calls.get(call.number)) is not None:
                task.cancel()
            return
        task = asyncio.get_running_loop().create_task(self._run(call))
        self._calls[call.number] = task
        task.add_done_callback(lambda _: self._calls.pop(call.number, None))

    async def _run(self, call: Call) -> None:
        try:
            result = await getattr(self._client, call.method)(*call.arguments)
            answer = Answer(call.number, result)
        except Exception as error:
            answer = Answer(call.number, failure=f"{type(error).__name__}: {error}")
        self._connection.send(answer)


def main() -> None:
    """Connect, say what the application serves, and answer calls until the connection ends."""
    connection = Connection(int(sys.argv[1]))
    log_to_stderr()
    logging.getLogger("ray").setLevel(logging.ERROR)
    parent = os.getppid()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    with quick_imports():  # maybe before there is a cluster
        from serve_app.cluster import ray_cluster
        from serve_app.router import client  # noqa: F401
        from serve_app.system.ray_adapter import FIRST_CALL_IMPORTS

        for name in FIRST_CALL_IMPORTS:
            importlib.import_module(name)

    told = _receive(connection)
    try:
        ray_cluster.connect(told.address)
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        connection.send(Answer(0, failure=f"{told.address}: {reason}"))
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the other process decides when this one ends
    address = ray_cluster.connected_address()
    threading.Thread(target=_end_with_cluster, args=(address,), daemon=True).start()
    if isinstance(told, Join):
        told = _receive(connection)
    asyncio.run(_answer(connection, told))


def _receive(connection: Connection) -> Any:
    """The next message; ends the process when nobody waits any more."""
    try:
        return connection.recv()
    except (EOFError, OSError):
        os._exit(0)


async def _answer(connection: Connection, start: Start) -> None:
    process = RouterProcess(connection, start)
    connection.send(Answer(0, await process.identity()))
    loop = asyncio.get_running_loop()
    while True:
        try:
            call = await asyncio.to_thread(connection.recv)
        except (EOFError, OSError):
            os._exit(0)  # Ray's own end takes seconds, and nothing depends on it
        loop.call_soon(process.take, call)


def _end_with(parent: int) -> None:
    """End this process with its parent, also while it connects."""
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(0)


def _end_with_cluster(address: str) -> None:
    """End this process soon after the cluster is gone."""
    misses = 0
    while misses < _MISSES:
        time.sleep(_LOOK_S)
        try:
            check_answers(address)
            misses = 0
        except ConnectionError:
            misses += 1
    os._exit(1)


if __name__ == "__main__":
    main()
