"""Which addresses web servers may have: a record must not reach into the private network."""

from __future__ import annotations

import ipaddress
import socket

from schemas.failures import ErrorCode
from serve_app.audio.errors import AudioError
from serve_app.audio.remote.reader import unavailable

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
#: IPv6 addresses that stand for an IPv4 address in their last 32 bits (RFC 6052).
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def resolve(host: str, port: int, *, allow_private: bool) -> list[str]:
    """The IP addresses of a host. A caller connects to these, and does not look it up again.

    Args:
        host: a name, or an address.
        port: to connect to.
        allow_private: whether addresses that are not public may be among them.

    Raises:
        AudioError: `AUDIO_OUTSIDE_ROOTS`: one of them is not public. `AUDIO_IO`: there are none.
    """
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise unavailable("the name of its host is not known just now") from None
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    if not allow_private and not all(map(is_public, addresses)):
        raise AudioError(
            ErrorCode.AUDIO_OUTSIDE_ROOTS,
            "its host has an address that is not public; if it is yours, set "
            "`audio.allow_private_addresses`",
        )
    return addresses


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet: not private, loopback, link-local, ..."""
    parsed = _meant(ipaddress.ip_address(address.partition("%")[0]))
    return parsed.is_global and not parsed.is_multicast


def _meant(address: _Address) -> _Address:
    """The IPv4 address that an IPv6 address stands for, or the address itself."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        teredo = address.teredo[1] if address.teredo else None
        return address.ipv4_mapped or address.sixtofour or teredo or address
    return address
