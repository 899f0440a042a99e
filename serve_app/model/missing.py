"""Models that are not required and did not load."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection

from serve_app.system.ray_adapter import notes
from serve_app.system.ray_environment import missing_notes

_REFRESH_S = 5.0


class MissingModels:
    """Knows why a model is missing, so that nobody waits for it.

    `chorus serve` finds out and leaves a note (`ray_adapter.put_note`).

    Args:
        app: `serve.app` of the settings.
        optional: names of the models that are not required; the others are never missing.
    """

    def __init__(self, app: str, optional: Collection[str]) -> None:
        self._group = missing_notes(app)
        self._optional = frozenset(optional)
        self._found: dict[str, str] = {}
        self._read = -_REFRESH_S

    async def reason(self, model: str) -> str | None:
        """Why the model did not load; None if it is there, or may come."""
        if model not in self._optional:
            return None
        if time.monotonic() - self._read >= _REFRESH_S:
            self._read = time.monotonic()
            self._found = await asyncio.to_thread(notes, self._group)
        return self._found.get(model)
