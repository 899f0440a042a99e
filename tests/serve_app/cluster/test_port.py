"""The port of the HTTP API belongs to one server."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator

import pytest

from serve_app.cluster.port import PortClaim, PortTakenError
from workers.broker.ports import free_ports


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:  # Ray's sockets are below it
        monkeypatch.setenv("RAY_TMPDIR", short)
        yield


def listening(port: int) -> socket.socket:
    """Listens as Serve's proxy does: it shares the port."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    return listener


def test_a_port_that_others_share_is_refused() -> None:
    [port] = free_ports(1)
    with listening(port), pytest.raises(PortTakenError, match=f"port {port} .*`http.port`"):
        PortClaim("127.0.0.1", port)
    PortClaim("127.0.0.1", port).release()


def test_a_claim_holds_before_anybody_listens() -> None:
    [port] = free_ports(1)
    first = PortClaim("127.0.0.1", port)
    with pytest.raises(PortTakenError):
        PortClaim("127.0.0.1", port)
    with listening(port):  # its own proxy
        pass
    first.release()
    PortClaim("127.0.0.1", port).release()


def test_connections_that_have_just_ended_do_not_hold_it() -> None:
    [port] = free_ports(1)
    with listening(port) as proxy:
        client = socket.create_connection(("127.0.0.1", port))
        connection, _ = proxy.accept()
        connection.close()  # first, so it waits for what may still be on the way
        assert client.recv(1) == b""
        client.close()
    with pytest.raises(OSError, match="in use"), socket.socket() as other:
        other.bind(("127.0.0.1", port))
    PortClaim("127.0.0.1", port).release()
    with listening(port), pytest.raises(PortTakenError):
        PortClaim("127.0.0.1", port)


def test_any_port_is_never_taken() -> None:
    PortClaim("127.0.0.1", 0)
    PortClaim("127.0.0.1", 0)


def test_a_host_of_another_machine_is_an_error_of_the_system() -> None:
    with pytest.raises(OSError, match=r"[Cc]annot assign"):
        PortClaim("192.0.2.1", free_ports(1)[0])


def test_a_port_that_was_claimed_is_taken_over_from_the_proxy() -> None:
    [port] = free_ports(1)
    claim = PortClaim("127.0.0.1", port)
    listener = claim.take_over()
    assert listener is not None
    with listener, socket.create_connection(("127.0.0.1", port)):
        pass
    claim.release()
    assert claim.take_over() is None
    assert PortClaim("127.0.0.1", 0).take_over() is None
