"""A port changes hands without a client that notices."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import closing

import pytest

from serve_app.system.listeners import address_of, take_no_more, take_over


def sharing() -> tuple[socket.socket, int]:
    """A listener as Serve's proxy has it, and its port."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener, listener.getsockname()[1]


def accept(listener: socket.socket, port: int) -> None:
    """Connect to the port, and have `listener` accept it."""
    listener.settimeout(5)
    with socket.create_connection(("127.0.0.1", port)), closing(listener.accept()[0]):
        pass


def test_all_new_connections_come_to_the_one_that_takes_over() -> None:
    first, port = sharing()
    earlier = socket.create_connection(("127.0.0.1", port))
    with closing(take_over("127.0.0.1", port)) as second:
        for _ in range(20):  # by chance, one of two has half of them
            accept(second, port)
        first.setblocking(False)
        first.accept()[0].close()  # what it had stays with it
        earlier.close()
        with pytest.raises(BlockingIOError):
            first.accept()
        first.close()
        accept(second, port)


def test_a_port_that_is_not_shared_cannot_be_taken_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as alone, pytest.raises(OSError, match="in use"):
        take_over("127.0.0.1", alone.getsockname()[1])


def test_the_last_connections_are_accepted_and_no_more_come() -> None:
    first, port = sharing()
    with closing(first), socket.create_connection(("127.0.0.1", port)) as earlier:
        take_no_more(first)
        with pytest.raises(TimeoutError):
            socket.create_connection(("127.0.0.1", port), timeout=0.2)
        with closing(first.accept()[0]) as accepted:
            earlier.sendall(b"hello")
            assert accepted.recv(5) == b"hello"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_a_name_of_both_families_is_that_of_the_proxy() -> None:
    assert address_of("localhost", 80) == (socket.AF_INET, ("127.0.0.1", 80))
    assert address_of("::1", 80)[0] is socket.AF_INET6


WITHOUT_PRIVILEGES = """
import socket
from contextlib import closing
from serve_app.system.listeners import take_no_more
with socket.create_server(("127.0.0.1", 0)) as listener:
    address = listener.getsockname()
    with socket.create_connection(address) as earlier:
        take_no_more(listener)
        try:
            socket.create_connection(address, timeout=0.2)
        except TimeoutError:
            print("ignored")
        with closing(listener.accept()[0]) as accepted:
            earlier.sendall(b"hello")
            print(accepted.recv(5).decode())
"""


def test_a_user_without_privileges_can_close_a_port_too() -> None:
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    command = [*drop, sys.executable, "-c", WITHOUT_PRIVILEGES]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["ignored", "hello"]
