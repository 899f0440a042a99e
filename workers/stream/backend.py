"""What the worker needs to know about the Router."""

from __future__ import annotations

from typing import Protocol

from schemas.failures import RecordError
from schemas.manifest import ManifestRecord
from schemas.transcript import Transcript


class Sign(Protocol):
    """Answer to a probe."""

    @property
    def alive(self) -> bool:
        """Whether a call made now would find the Router and every model alive."""
        ...


class Backend(Protocol):
    """Transcribes lists of records. Called from one asyncio loop, several lists at once."""

    async def transcribe(self, records: list[ManifestRecord]) -> list[Transcript | RecordError]:
        """One transcript or typed error per record, in the records' order.

        May raise where the whole call failed; the worker then tries all of `records` again.
        """
        ...

    async def probe(self) -> Sign:
        """Ask for a sign of life, at the cost of a small call. Answers within seconds."""
        ...
