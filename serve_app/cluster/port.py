"""The port of the HTTP API, for one server only.

Serve's proxy shares its port with every process of the same user that does so too, and the kernel
then splits the requests between them.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from pathlib import Path

from serve_app.cluster import access
from serve_app.system.listeners import address_of, take_over

_CONNECT_S = 2.0


class PortTakenError(RuntimeError):
    """Another program listens at the port."""


class PortClaim:
    """A port that no other `chorus serve` of this user takes until `release`, or the process ends.

    Args:
        host: address to listen at.
        port: number of the port; 0 is any, and claims nothing.

    Raises:
        PortTakenError: a program listens there, or another `chorus serve` has claimed it.
        OSError: `host` is not an address of this machine, or the port needs a privilege.
    """

    def __init__(self, host: str, port: int) -> None:
        self._file: int | None = None
        self._host, self._port = host, port
        if port == 0:
            return
        reason = (
            f"port {port} of {host} is taken by another program, maybe another `chorus serve`; "
            "stop it, or set another `http.port`"
        )
        path = Path(f"{access.temp_folder().parent}/port-{port}.lock")
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _try(host, port)
        except BlockingIOError:
            self.release()
            raise PortTakenError(reason) from None
        except OSError as error:
            self.release()
            if error.errno == errno.EADDRINUSE:
                raise PortTakenError(reason) from None
            raise

    def take_over(self) -> socket.socket | None:
        """Listen at the port in the place of Serve's proxy: see `listeners.take_over`.

        Returns:
            The listener, which the caller closes; None if no port was claimed.

        Raises:
            OSError: what listens there does not share the port.
        """
        return None if self._file is None else take_over(self._host, self._port)

    def release(self) -> None:
        """Let others take the port. Idempotent."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _try(host: str, port: int) -> None:
    family, address = address_of(host, port)
    try:
        _bind(family, address, socket.SO_REUSEADDR)
    except OSError as error:
        if error.errno != errno.EADDRINUSE or _is_listened_at(family, address):
            raise
        # Connections that have just ended hold the port for a minute, unless it is shared as they
        # shared it. So does the proxy.
        _bind(family, address, socket.SO_REUSEPORT)


def _bind(family: socket.AddressFamily, address: tuple[object, ...], option: int) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, option, 1)
        listener.bind(address)
        listener.listen(1)


def _is_listened_at(family: socket.AddressFamily, address: tuple[object, ...]) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(_CONNECT_S)
        return client.connect_ex(address) != errno.ECONNREFUSED
