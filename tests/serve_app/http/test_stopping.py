"""The last answers at the port of the API."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest

from serve_app.http import stopping
from serve_app.http.stopping import answered
from serve_app.system.ray_environment import ORIGINS_VARIABLE


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setenv(ORIGINS_VARIABLE, "http://page")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.getsockname()[1]
        with answered(listener):
            yield number
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", number))


def test_every_request_is_told_to_come_later(port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        headers = {"origin": "http://page", "x-request-id": "mine"}
        for path in ("/v1/models", "/ready", "/-/healthz"):
            answer = client.get(path, headers=headers)
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "stopping"
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.headers["x-request-id"] == "mine"
            assert answer.headers["access-control-allow-origin"] == "http://page"


def test_a_large_upload_gets_its_answer(port: int) -> None:
    """Closing a connection on a client that still sends would be a reset."""
    body = bytes(8 << 20)
    answer = httpx.post(f"http://127.0.0.1:{port}/v1/audio/transcriptions", content=body)
    assert answer.status_code == 503


@pytest.mark.parametrize(
    "said", [b"", b"POST /v1/manifests HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"]
)
def test_a_client_that_does_not_end_does_not_hold_up_the_end(said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        with answered(listener):
            client.connect(listener.getsockname())
            client.sendall(said)
            started = time.monotonic()
        assert time.monotonic() - started < 5


def test_a_client_that_is_connected_at_the_end_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "_CONNECTED_S", 2.0)
    answers: list[bytes] = []

    def say_something_late() -> None:
        with suppress(TimeoutError):
            while True:  # until nobody else comes in
                socket.create_connection(address, timeout=0.2).close()
        client.sendall(b"GET /live HTTP/1.1\r\nHost: a\r\n\r\n")
        answers.append(client.recv(100))

    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        address = listener.getsockname()
        speaker = threading.Thread(target=say_something_late)
        with answered(listener):
            client.connect(address)
            httpx.get(f"http://127.0.0.1:{address[1]}/live")  # so the one before is accepted
            speaker.start()
        speaker.join()
    assert answers[0].startswith(b"HTTP/1.1 503")
