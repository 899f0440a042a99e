"""Checking `kafka.client`: the options of kafka-python's clients that the settings may give."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.net.sasl import get_sasl_mechanism

from schemas.settings import KafkaSettings, SettingsError, client_options

#: Options that decide the guarantees; a setting may not change them.
RESERVED = frozenset(
    {
        "bootstrap_servers",
        "group_id",
        "group_instance_id",
        "transactional_id",
        "enable_auto_commit",
        "enable_idempotence",
        "isolation_level",
        "acks",
        "key_serializer",
        "value_serializer",
        "key_deserializer",
        "value_deserializer",
    }
)

#: Every option with its default.
_KNOWN: Mapping[str, Any] = {
    **KafkaAdminClient.DEFAULT_CONFIG,
    **KafkaConsumer.DEFAULT_CONFIG,
    **KafkaProducer.DEFAULT_CONFIG,
}
_CHOICES = {
    "security_protocol": ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
    "compression_type": ("gzip", "snappy", "lz4", "zstd"),
}
_FILES = ("ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_crlfile")
_TYPES = {bool: "true or false", int: "a whole number", str: "text"}


def checked_options(kafka: KafkaSettings) -> dict[str, str | int | float | bool]:
    """`kafka.client` with its secrets, for kafka-python.

    Raises:
        SettingsError: options that do not exist, are Chorus's own, or have a value that cannot be;
            or a secret is not set. All of them are named.
    """
    options = client_options(kafka)
    faults = [f"kafka.client.{key}: {reason}" for key, reason in _faults(options)]
    if faults:
        raise SettingsError("\n".join(faults))
    return options


def _faults(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in options.items():
        if key in RESERVED:
            yield key, "is set by Chorus; remove it"
        elif key not in _KNOWN:
            near = difflib.get_close_matches(key, _KNOWN.keys() - RESERVED, n=1)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            yield key, f"kafka-python has no such option{hint}"
        else:
            reason = _fault(key, value)
            if reason is not None:
                yield key, reason
    if str(options.get("security_protocol")).startswith("SASL") and "sasl_mechanism" not in options:
        yield "security_protocol", "with SASL, `sasl_mechanism` says which one"


def _fault(key: str, value: Any) -> str | None:
    """What is wrong with the value of an option that exists, without naming the value."""
    kind = type(_KNOWN[key])
    if kind in _TYPES and type(value) is not kind:
        return f"is to be {_TYPES[kind]}"
    if key in _CHOICES and value not in _CHOICES[key]:
        return f"is one of {', '.join(_CHOICES[key])}"
    if key in _FILES and not Path(str(value)).is_file():
        return "there is no such file"
    if key == "sasl_mechanism":
        try:
            get_sasl_mechanism(value)
        except KeyError:
            return "kafka-python has no such mechanism"
    return None
