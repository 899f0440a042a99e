"""Audio: from the path in a record to mono float32 samples, or one typed error.

Pure logic, without Ray and NeMo: `loader` is the door, `sources` finds and opens the file safely,
`formats` refuses what no decoder should see, `decode` reads the segment within the limits.
"""

from __future__ import annotations

from serve_app.audio.errors import AudioError
from serve_app.audio.loader import AudioLoader

__all__ = ["AudioError", "AudioLoader"]
