"""Free TCP ports on loopback."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection
from pathlib import Path

HOST = "127.0.0.1"


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` of loopback now."""
    with socket.socket() as probe:
        # as Java does: a connection in TIME_WAIT does not occupy the port
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_ports(count: int, avoid: Collection[int] = ()) -> list[int]:
    """Find `count` different free ports, none of them in `avoid`.

    They are below the system's ephemeral ports. Otherwise a client that tries to reach a broker
    which is down could be given the broker's own port, connect to itself, and keep the broker from
    coming back. Another process may still take a port before it is used.
    """
    candidates = list(range(15_000, _first_ephemeral()))
    random.SystemRandom().shuffle(candidates)
    ports: list[int] = []
    for port in candidates:
        if len(ports) == count:
            break
        if port not in avoid and is_free(port):
            ports.append(port)
    return ports


def _first_ephemeral() -> int:
    try:
        text = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii")
        first = int(text.split()[0])
    except (OSError, ValueError):
        first = 32_768
    return first if first > 16_000 else 32_768
