"""A brake on guessing API keys: so many wrong ones a minute from one address."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

from serve_app.http.errors import ApiError

#: Addresses that are remembered, the last ones to fail.
MAX_ADDRESSES = 10_000


class GuessBrake:
    """Counts wrong keys by address, as a token bucket that holds a minute's worth.

    Args:
        per_minute: wrong keys that an address may send.
        clock: the time in seconds, from any start.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        #: Wrong keys that count at a time, by address; the last one to fail is at the end.
        self._failed: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check(self, address: str) -> None:
        """Refuse an address that has sent too many wrong keys, whatever it sends now.

        Raises:
            ApiError: 429.
        """
        counted = self._counted(_block(address))
        if counted > self._per_minute - 1:
            wait = (counted - self._per_minute + 1) * 60 / self._per_minute
            raise ApiError(
                429,
                "this address has sent too many wrong API keys; check the key, and try again later",
                code="too_many_wrong_keys",
                retry_after_s=wait,
            )

    def failed(self, address: str) -> None:
        """Count a wrong key."""
        block = _block(address)
        self._failed[block] = (self._counted(block) + 1, self._clock())
        self._failed.move_to_end(block)
        if len(self._failed) > MAX_ADDRESSES:
            self._failed.popitem(last=False)

    def _counted(self, block: str) -> float:
        count, since = self._failed.get(block, (0.0, 0.0))
        return max(0.0, count - (self._clock() - since) * self._per_minute / 60)


def _block(address: str) -> str:
    """What one client has for itself: an IPv4 address, or 64 bits of an IPv6 address."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))
    return address
