"""The protocol of a transcription backend: what callers need of the Router."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from schemas.manifest import ManifestRecord
from schemas.requests import DEFAULT_OPTIONS, CallOptions

if TYPE_CHECKING:  # who calls over HTTP needs none of the packages behind them
    from serve_app.audio.clip import Recording
    from serve_app.router.results import Result


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What a Router serves.

    Attributes:
        settings: `settings_digest` of its settings.
        models: names of its models, without those that are missing.
        missing: names of those that are not required and did not load.
    """

    settings: str
    models: tuple[str, ...]
    missing: tuple[str, ...] = ()


class Probe(msgspec.Struct, frozen=True):
    """Whether the backend is alive.

    Attributes:
        router: whether the Router answered.
        silent: names of the required models that did not answer the probe.
        missing: names of those that did not, and are not required.
    """

    router: bool
    silent: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def alive(self) -> bool:
        """Whether the Router and every required model answered."""
        return self.router and not self.silent


class Backend(Protocol):
    """Transcribes lists of records. Called from one asyncio loop, several lists at once."""

    async def transcribe(
        self,
        records: Sequence[ManifestRecord],
        options: CallOptions = DEFAULT_OPTIONS,
        clips: Sequence[Recording] | None = None,
    ) -> list[Result]:
        """One transcript or typed error per record, in the records' order.

        May raise if the whole call failed; then no record has a result.

        Args:
            records: the records.
            options: of the call.
            clips: the records' audio at `SAMPLE_RATE`, if no files are to be read.
        """
        ...

    async def probe(self, timeout_s: float = 5.0) -> Probe:
        """Ask the Router and, through it, every model for a sign of life.

        Takes at most about `timeout_s` seconds.
        """
        ...
