"""Handing a port from one process to another, and closing it, so that no client notices.

A connection that a process has not accepted, or not answered, when it closes its listener or ends
is reset. So the listener that takes over gets all new connections first, by a filter of the kernel
on the listeners that share the port (socket(7)), and the last one gets no more before it is closed.
"""

from __future__ import annotations

import ctypes
import socket
import struct

#: Of asm-generic/socket.h; Python's `socket` has no names for them.
_SO_ATTACH_FILTER, _SO_ATTACH_REUSEPORT_CBPF = 26, 51
#: Of linux/bpf_common.h: return a constant.
_BPF_RETURN = 0x06
#: Connections that wait until they are accepted.
_BACKLOG = 1024


def address_of(host: str, port: int) -> tuple[socket.AddressFamily, tuple[object, ...]]:
    """The family and the address that Serve's proxy binds to: of IPv4 if there is a choice."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    return family, address


def take_over(host: str, port: int) -> socket.socket:
    """A listener that gets all new connections to a port which another one of this user shares.

    The other one keeps the connections that it has, and can be closed when they are answered.

    Raises:
        OSError: the other one does not share the port.
    """
    family, address = address_of(host, port)
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
        # The number of the listener that gets them: the other one is 0. If it is gone, there is no
        # 1, and the kernel takes the one that there is.
        _attach(listener, _SO_ATTACH_REUSEPORT_CBPF, 1)
    except BaseException:
        listener.close()
        raise
    return listener


def take_no_more(listener: socket.socket) -> None:
    """Have the kernel ignore new connections, which try again until the listener is closed.

    Those that wait can still be accepted. Where the kernel refuses the filter to this user, as
    Linux 6.18 does without CAP_NET_ADMIN, they are ignored only while another one waits.
    """
    try:
        _attach(listener, _SO_ATTACH_FILTER, 0)  # the number of bytes of a packet to keep
    except PermissionError:
        listener.listen(0)


def _attach(listener: socket.socket, option: int, constant: int) -> None:
    """Set a filter of one instruction: return a constant."""
    code = ctypes.create_string_buffer(struct.pack("HBBI", _BPF_RETURN, 0, 0, constant))
    program = struct.pack("HP", 1, ctypes.addressof(code))
    listener.setsockopt(socket.SOL_SOCKET, option, program)
