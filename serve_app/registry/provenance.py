"""Who does something to the registry, and when, as it records them."""

from __future__ import annotations

import getpass
import os
from datetime import UTC, datetime


def now() -> str:
    """The time, UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def user() -> str:
    """Who runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container may have no name for its user
        return f"uid {os.getuid()}"
