"""API keys, and the limits of each: concurrent requests, seconds of audio per minute."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic

from schemas.settings import ApiKey, HttpSettings
from serve_app.http.errors import ApiError
from serve_app.http.keys import KeyRing

#: Name of the client where the settings have no keys.
ANYBODY = "anybody"


class Client:
    """A client and what it has used of its limits. Belongs to one event loop.

    Args:
        name: of its key in the settings.
        limits: its limits.
        clock: the time in seconds, from any start.
    """

    def __init__(self, name: str, limits: ApiKey, clock: Callable[[], float] = monotonic) -> None:
        self.name = name
        self._limits = limits
        self._clock = clock
        self._at_once = 0
        self._rate_s = (limits.audio_seconds_per_minute or 0.0) / 60  # seconds of audio per second
        self._credit_s = limits.audio_seconds_per_minute or 0.0
        self._seen = clock()

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count a request as under way within the block.

        Raises:
            ApiError: 429, too many concurrent requests.
        """
        if self._at_once >= self._limits.max_concurrent:
            raise ApiError(
                429,
                f"this client may have {self._limits.max_concurrent} concurrent requests; wait "
                "for one to end",
                code="too_many_requests",
                retry_after_s=1,
            )
        self._at_once += 1
        try:
            yield
        finally:
            self._at_once -= 1

    def take(self, seconds: float) -> None:
        """Charge `seconds` of audio, unless the limit is used up.

        The limit is a token bucket that holds a minute's worth and fills steadily. One request may
        overdraw it, so that a longer file is possible at all; the next one is refused until the
        balance is positive again.

        Raises:
            ApiError: 429, the bucket is empty; nothing is charged.
        """
        if not self._rate_s:
            return
        now = self._clock()
        limit = self._rate_s * 60
        self._credit_s = min(limit, self._credit_s + (now - self._seen) * self._rate_s)
        self._seen = now
        if self._credit_s <= 0:
            raise ApiError(
                429,
                f"this client may send {limit:g} seconds of audio per minute; try again later",
                code="audio_rate_limit",
                retry_after_s=-self._credit_s / self._rate_s + 1,
            )
        self._credit_s -= seconds

    def charge(self, seconds: float) -> None:
        """Charge `seconds` of audio that have been transcribed already; may overdraw the bucket."""
        self._credit_s -= seconds


class Gate:
    """Finds the client of a request by its API key.

    Args:
        settings: the section `http` of the settings.
        environment: holds the keys that the settings name by an environment variable.

    Raises:
        SettingsError: a variable is not set or empty, or two clients have the same key.
    """

    def __init__(self, settings: HttpSettings, environment: Mapping[str, str] = os.environ) -> None:
        self._keys = KeyRing(settings, environment)
        self._clients = {name: Client(name, limits) for name, limits in settings.keys.items()}
        self._anybody = Client(ANYBODY, ApiKey(max_concurrent=settings.max_requests))

    def client(self, authorization: str | None, address: str = "") -> Client:
        """The client that a request belongs to.

        Args:
            authorization: the request's Authorization header, "Bearer KEY".
            address: where the request comes from.

        Raises:
            ApiError: 401, the key is missing or invalid; 429, too many were from this address.
        """
        if not self._keys:
            return self._anybody
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise ApiError(
                401,
                "the API key is missing; send it as `Authorization: Bearer KEY`",
                code="missing_api_key",
            )
        return self._clients[self._keys.owner(key, address)]
