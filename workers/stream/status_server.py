"""The worker's own port: whether it lives, whether it is ready, and its metrics."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from schemas.settings import SettingsError

#: What a route answers: whether that is a good sign, and the body.
Answer = tuple[bool, bytes]
_JSON = "application/json"
_TEXT = "text/plain; version=0.0.4; charset=utf-8"


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    timeout = 10  # who is slow with a request holds one thread, and not for ever

    def log_message(self, *_: object) -> None:
        """Probes come every few seconds; nobody wants to read of them."""


class StatusServer:
    """Serves `/live`, `/ready` and `/metrics` from threads of its own.

    Args:
        host, port: where to listen; port 0 takes a free one.
        live, ready: what the worker says of itself, as JSON; status 503 where it is a bad sign.
        metrics: the metrics in Prometheus' text format.

    Attributes:
        port: that it listens on.

    Raises:
        SettingsError: it cannot listen there.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        live: Callable[[], tuple[bool, dict[str, Any]]],
        ready: Callable[[], tuple[bool, dict[str, Any]]],
        metrics: Callable[[], bytes],
    ) -> None:
        self._routes: dict[str, tuple[str, Callable[[], Answer]]] = {
            "/live": (_JSON, lambda: _encoded(live())),
            "/ready": (_JSON, lambda: _encoded(ready())),
            "/metrics": (_TEXT, lambda: (True, metrics())),
        }
        try:
            self._server = make_server(host, port, self._answer, _Server, _Handler)
        except OSError as error:
            raise SettingsError(
                f"stream.status: cannot listen on {host}:{port}: {error.strerror or error}"
            ) from error
        self.port = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="stream-status", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: dict[str, Any], start: Any) -> Iterable[bytes]:
        route = self._routes.get(request.get("PATH_INFO", ""))
        if request["REQUEST_METHOD"] not in ("GET", "HEAD"):
            status, kind, body = HTTPStatus.METHOD_NOT_ALLOWED, _TEXT, b"only GET\n"
        elif route is None:
            known = ", ".join(self._routes)
            status, kind, body = HTTPStatus.NOT_FOUND, _TEXT, f"there are {known}\n".encode()
        else:
            kind, found = route
            good, body = found()
            status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
        headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
        start(f"{status.value} {status.phrase}", headers)
        return [b"" if request["REQUEST_METHOD"] == "HEAD" else body]


def _encoded(said: tuple[bool, dict[str, Any]]) -> Answer:
    good, body = said
    return good, json.dumps(body).encode() + b"\n"
