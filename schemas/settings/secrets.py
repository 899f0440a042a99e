"""Read the secrets that the settings name by environment variables."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping

from schemas.settings.console import ConsoleSettings
from schemas.settings.http import HttpSettings
from schemas.settings.kafka import FromEnvironment, KafkaSettings
from schemas.settings.keys import Key, same_key
from schemas.settings.stream import StreamSettings
from schemas.settings.types import Fault, SettingsError


def client_options(kafka: KafkaSettings) -> dict[str, str | int | float | bool]:
    """`kafka.client` with the secrets filled in from the environment.

    Raises:
        SettingsError: an environment variable that it names is not set.
    """
    options: dict[str, str | int | float | bool] = {}
    for key, value in kafka.client.items():
        if isinstance(value, FromEnvironment):
            if value.env not in os.environ:
                raise SettingsError(
                    f"kafka.client.{key}: environment variable {value.env} is not set"
                )
            options[key] = os.environ[value.env]
        else:
            options[key] = value
    return options


def backend_key(stream: StreamSettings) -> str | None:
    """The value of `stream.backend_key`; None if there is none.

    Raises:
        SettingsError: the environment variable that it names is not set.
    """
    if stream.backend_key is None:
        return None
    name = stream.backend_key.env
    if name not in os.environ:
        raise SettingsError(f"stream.backend_key: environment variable {name} is not set")
    return os.environ[name]


def api_key_faults(
    section: HttpSettings | ConsoleSettings, environment: Mapping[str, str] = os.environ
) -> Iterator[Fault]:
    """Keys of a section that are not there, or that another client has.

    Args:
        section: `http` or `console`.
        environment: holds the keys that are named by an environment variable.
    """
    place = "http.keys" if isinstance(section, HttpSettings) else "console.keys"
    owners: dict[bytes, str] = {}
    for name, key in section.keys.items():
        digest = _key_digest(key, environment)
        if digest is None:
            reason = f"the environment variable {key.env} is not set, or empty; set it to the key"
            yield f"{place}.{name}.env", f"{reason} of this client"
        elif (owner := owners.setdefault(digest, name)) != name:
            yield f"{place}.{name}", same_key(owner)


def api_key_digests(
    section: HttpSettings | ConsoleSettings, environment: Mapping[str, str] = os.environ
) -> dict[bytes, str]:
    """The names of the clients in the keys of a section by the SHA-256 digests of their keys.

    Args:
        section: `http` or `console`.
        environment: holds the keys that are named by an environment variable.

    Raises:
        SettingsError: a key is not there, or two clients have the same one; see `api_key_faults`.
    """
    if faults := list(api_key_faults(section, environment)):
        raise SettingsError("\n".join(f"{key}: {reason}" for key, reason in faults))
    digests = {name: _key_digest(key, environment) for name, key in section.keys.items()}
    return {digest: name for name, digest in digests.items() if digest is not None}


def _key_digest(key: Key, environment: Mapping[str, str]) -> bytes | None:
    """The digest of a key; None if its variable is not set or empty."""
    if key.sha256 is not None:
        return bytes.fromhex(key.sha256)
    value = environment.get(key.env or "", "").strip()
    return hashlib.sha256(value.encode()).digest() if value else None
