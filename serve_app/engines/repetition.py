"""Whether a text repeats itself, as those of decoders do that have lost the sound."""

from __future__ import annotations

import zlib


def compression_ratio(text: str) -> float:
    """How much shorter zlib makes a text, as a factor: above 2.4 it repeats itself."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))
