"""Models that are not required and did not load."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection

from serve_app.model.application import model_app
from serve_app.system.ray_adapter import failures_to_start

_REFRESH_S = 5.0


class MissingModels:
    """Knows why a model is missing, so that nobody waits for it.

    Args:
        app: `serve.app` of the settings.
        optional: names of the models that are not required; the others are never missing.
    """

    def __init__(self, app: str, optional: Collection[str]) -> None:
        self._app = app
        self._optional = frozenset(optional)
        self._found: dict[str, str] = {}
        self._read = -_REFRESH_S

    async def reason(self, model: str) -> str | None:
        """Why the model did not load; None if it is there, or may come."""
        if model not in self._optional:
            return None
        if time.monotonic() - self._read >= _REFRESH_S:
            self._read = time.monotonic()
            apps = [model_app(self._app, name) for name in self._optional]
            self._found = await asyncio.to_thread(failures_to_start, apps)
        return self._found.get(model_app(self._app, model))
