"""Keys that open something to a client: named in the settings by their digest, or by a variable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from schemas.settings.types import Fault


class Key(Protocol):
    """A key; exactly one of `sha256` and `env` is given."""

    @property
    def sha256(self) -> str | None:
        """SHA-256 digest of the key, in hexadecimal."""

    @property
    def env(self) -> str | None:
        """Name of the environment variable that holds the key."""


def key_faults(place: str, keys: Mapping[str, Key]) -> Iterator[Fault]:
    """Keys that are given in no way, in two ways, or to two clients.

    Args:
        place: path of `keys` in the settings.
        keys: by client.
    """
    owners: dict[str | None, str] = {}
    for name, key in keys.items():
        owner = owners.setdefault(key.sha256 or key.env, name)
        if (key.sha256 is None) == (key.env is None):
            yield f"{place}.{name}", "give either `sha256` or `env`"
        elif owner != name:
            yield f"{place}.{name}", same_key(owner)


def same_key(owner: str) -> str:
    """What is wrong with a key that the client `owner` has too."""
    return f"has the same key as `{owner}`; make another one with `chorus key`"
