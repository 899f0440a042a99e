"""The last answers at the port of the API: 503, while all that is behind it ends.

Serve's proxy is killed with its cluster, and would reset the connections that it has not answered
by then. So the process that ends the cluster answers in its place, see `PortClaim.take_over`.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from serve_app.http.proxy import Message, Receive, Send, middlewares, refuse
from serve_app.system.listeners import take_no_more

#: At the end, seconds for clients that are connected to say what they want, and for those that are
#: still sending.
_CONNECTED_S, _SENDING_S = 0.2, 1


@contextmanager
def answered(listener: socket.socket) -> Iterator[None]:
    """Answer every request at `listener` with 503 within the block, then close it.

    Args:
        listener: a listening socket.
    """
    ended = threading.Event()
    thread = threading.Thread(
        target=lambda: asyncio.run(_serve(listener, ended)), name="last answers", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_CONNECTED_S + 2 * _SENDING_S)


async def _serve(listener: socket.socket, ended: threading.Event) -> None:
    import uvicorn

    app: Any = _stopping
    for each in middlewares():
        app = each.cls(app, *each.args, **each.kwargs)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            log_level="critical",
            timeout_graceful_shutdown=_SENDING_S,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await asyncio.to_thread(ended.wait)
    take_no_more(listener)  # uvicorn also closes connections whose request is on its way
    await asyncio.sleep(_CONNECTED_S)
    server.should_exit = True
    await serving


async def _stopping(scope: Message, receive: Receive, send: Send) -> None:
    reason = "the service is stopping; try again later"
    await refuse(send, 503, reason, "stopping", close=receive)
