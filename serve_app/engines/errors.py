"""The error of a model that cannot be loaded or does not work."""

from __future__ import annotations


class EngineError(Exception):
    """An engine cannot be loaded, or is broken as a whole.

    The message names the file, the settings key or the class at fault, and what to do. What is
    wrong with a single clip is never an `EngineError` but that clip's
    `serve_app.engines.base.Rejection`.
    """


def shown(value: object) -> str:
    """An untrusted `value` for a message: quoted and cut short."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:90]}..."
