"""Finds who a key belongs to, among those of a section of the settings."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping

from schemas.settings import ConsoleSettings, HttpSettings, api_key_digests
from serve_app.http.brake import GuessBrake
from serve_app.http.errors import ApiError


class KeyRing:
    """The keys of a section of the settings, and a brake on guessing them.

    Args:
        section: `http` or `console`.
        environment: holds the keys that the settings name by an environment variable.

    Raises:
        SettingsError: a variable is not set or empty, or two clients have the same key.
    """

    def __init__(
        self,
        section: HttpSettings | ConsoleSettings,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._owners = api_key_digests(section, environment)
        self._brake = GuessBrake(section.wrong_keys_per_minute)

    def __bool__(self) -> bool:
        return bool(self._owners)

    def owner(self, key: str, address: str) -> str:
        """The name of the client whose key it is.

        Args:
            key: as it was sent.
            address: where it comes from.

        Raises:
            ApiError: 401, it is nobody's; 429, too many were from this address.
        """
        self._brake.check(address)
        given = hashlib.sha256(key.strip().encode()).digest()
        found = None
        for digest, name in self._owners.items():  # all of them, against timing attacks
            if hmac.compare_digest(digest, given):
                found = name
        if found is None:
            self._brake.failed(address)
            reason = "the API key is invalid; use one that the operator of this service gave you"
            raise ApiError(401, reason, code="invalid_api_key")
        return found
