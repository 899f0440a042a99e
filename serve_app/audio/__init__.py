"""Audio: from the path in a record to mono float32 samples, or one typed error.

Without Ray and NeMo. For the file of a record, `loader` is the interface, `sources` finds and opens
the file, `formats` refuses formats that are not supported, and `decode` decodes the segment. For an
upload, `sandbox` decodes the file in another process, with `media`.
"""

from __future__ import annotations

from serve_app.audio.errors import AudioError
from serve_app.audio.loader import AudioLoader

__all__ = ["AudioError", "AudioLoader"]
