"""A digest of the settings that decide what becomes of a record."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from schemas.settings.root import Settings

#: Keys of a model that say where and how often it runs, not what it transcribes.
PLACEMENT = frozenset(
    {
        "autoscaling",
        "gpu_fraction",
        "interactive_share",
        "num_cpus",
        "replicas",
        "required",
        "threads",
    }
)
#: Keys of `audio` that say how it is read, not which.
FETCHING = frozenset({"allow_private_addresses", "cache_bytes", "fetches", "threads"})


def settings_digest(settings: Settings) -> str:
    """SHA-256, in hexadecimal, of the models, plans, rules, text rules and limits on audio.

    The Router and its callers compare it, so that a record is transcribed by the models that it
    was meant for. What changes no transcript is left out: Kafka, the stream, HTTP, the number and
    the resources of replicas.

    Args:
        settings: as `load_settings` returns them, with absolute paths.
    """
    parts: dict[str, Any] = {
        name: msgspec.to_builtins(getattr(settings, name))
        for name in ("models", "plans", "routing", "text_rules", "audio")
    }
    for model in parts["models"].values():
        for key in PLACEMENT:
            model.pop(key)
    for key in FETCHING:
        parts["audio"].pop(key)
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()
