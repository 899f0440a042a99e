"""Who may ask, and how much: API keys, requests at once, seconds of audio a minute."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic

from schemas.settings import ApiKey, HttpSettings
from serve_app.http.errors import ApiError

#: The client's name where there are no keys.
ANYBODY = "anybody"


class MissingKeyError(ValueError):
    """A key of the settings is not in the environment."""


class Client:
    """A client and what it uses. Belongs to one event loop."""

    def __init__(self, name: str, limits: ApiKey, clock: Callable[[], float] = monotonic) -> None:
        self.name = name
        self._limits = limits
        self._clock = clock
        self._at_once = 0
        self._rate_s = (limits.audio_seconds_per_minute or 0.0) / 60  # seconds of audio a second
        self._credit_s = limits.audio_seconds_per_minute or 0.0
        self._seen = clock()

    @contextmanager
    def request(self) -> Iterator[None]:
        """While it is worked on.

        Raises:
            ApiError: 429, too many requests at once.
        """
        if self._at_once >= self._limits.max_concurrent:
            raise ApiError(
                429,
                f"more than {self._limits.max_concurrent} requests at once; wait for one to end",
                code="too_many_requests",
                retry_after_s=1,
            )
        self._at_once += 1
        try:
            yield
        finally:
            self._at_once -= 1

    def take(self, seconds: float) -> None:
        """Charge `seconds` of audio: a bucket of a minute's worth that fills up steadily.

        One request may overdraw it, so that a file longer than that is possible at all; the next
        one waits until it is positive again.

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
                f"more than {limit:g} seconds of audio a minute",
                code="audio_rate_limit",
                retry_after_s=-self._credit_s / self._rate_s + 1,
            )
        self._credit_s -= seconds

    def charge(self, seconds: float) -> None:
        """Charge `seconds` of audio that have been worked on already; it may overdraw."""
        self._credit_s -= seconds


class Gate:
    """All clients, by their keys.

    Args:
        environment: where keys are read that the settings name by a variable.

    Raises:
        MissingKeyError: a variable is not set or empty.
    """

    def __init__(self, settings: HttpSettings, environment: Mapping[str, str] = os.environ) -> None:
        self._by_digest = {
            _digest(name, key, environment): Client(name, key)
            for name, key in settings.keys.items()
        }
        self._anybody = Client(ANYBODY, ApiKey(max_concurrent=settings.max_requests))

    def client(self, authorization: str | None) -> Client:
        """Who it is that sends this header, "Bearer KEY".

        Raises:
            ApiError: 401.
        """
        if not self._by_digest:
            return self._anybody
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise ApiError(
                401, "send your API key as `Authorization: Bearer KEY`", code="missing_api_key"
            )
        given = hashlib.sha256(key.strip().encode()).digest()
        found = None
        for digest, client in self._by_digest.items():  # all of them, so that time tells nothing
            if hmac.compare_digest(digest, given):
                found = client
        if found is None:
            raise ApiError(401, "this API key is not known", code="invalid_api_key")
        return found


def _digest(name: str, key: ApiKey, environment: Mapping[str, str]) -> bytes:
    if key.sha256 is not None:
        return bytes.fromhex(key.sha256)
    value = environment.get(key.env or "", "").strip()
    if not value:
        raise MissingKeyError(f"http.keys.{name}.env: the variable {key.env} is not set")
    return hashlib.sha256(value.encode()).digest()
