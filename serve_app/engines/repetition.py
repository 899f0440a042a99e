"""Whether a text repeats itself, as those of decoders do that have lost the sound."""

from __future__ import annotations

import zlib


def compression_ratio(text: str) -> float:
    """How much shorter zlib makes a text, as a factor: above 2.4 it repeats itself."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))


def repetition(text: str, limit: float | None) -> str | None:
    """What is wrong with a text that repeats itself; None if it does not.

    Args:
        text: of a model.
        limit: the largest `compression_ratio` of a text that does not; None takes any.
    """
    ratio = compression_ratio(text)
    if limit is None or ratio <= limit:
        return None
    return f"the model repeats itself (its text compresses by a factor of {ratio:.1f})"
