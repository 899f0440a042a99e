"""The protocol of a model: the types that a replica returns, and its error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from schemas.failures import ErrorCode
from schemas.requests import ClipRequest
from serve_app.audio.clip import Clip
from serve_app.engines.base import Hypothesis, Rejection


class Outcome(msgspec.Struct, frozen=True):
    """The result of one clip, with its timings.

    Attributes:
        result: of the engine.
        queue_ms: time from the clip's arrival to the start of its batch.
        model_ms: the clip's share of the wall time of its batch, by length.
    """

    result: Hypothesis | Rejection
    queue_ms: float
    model_ms: float


class Reply(msgspec.Struct, frozen=True):
    """A model's answer to a list of clips.

    Attributes:
        outcomes: one per clip, in order.
        sha256: digest of the model file; empty for an engine without one.
        version: of the model; empty where it has none.
    """

    outcomes: list[Outcome]
    sha256: str
    version: str = ""


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a replica serves.

    Attributes:
        name: of the model in the settings.
        sha256: digest of the model file; empty for an engine without one.
        device: "cpu" or "cuda".
        sample_rate: of its engine, in hertz; other audio is resampled.
        version: of the model; empty where it has none.
        refused: why the version that its alias names now is not served; empty if it is.
        waiting: clips that wait in its queue.
        audio_per_s: seconds of audio that it transcribed per second, in the last minute.
        failed: clips without a text in that time, whatever the reason.
        last_failure: error code and time of the last one; empty without any since it started.
    """

    name: str
    sha256: str
    device: str
    sample_rate: int
    version: str = ""
    refused: str = ""
    waiting: int = 0
    audio_per_s: float = 0.0
    failed: int = 0
    last_failure: str = ""


class ModelError(Exception):
    """A model gave no answer for a list of clips.

    Args:
        code: why.
        message: the reason, with the model's name.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(code, message)  # both, so that it can be pickled: it may cross processes
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message


class Model(Protocol):
    """A model as the Router sees it."""

    @property
    def replicas(self) -> int:
        """How many replicas it has, as far as is known; at least 1."""
        ...

    async def transcribe(
        self,
        clips: Sequence[Clip],
        sample_rate: int,
        requests: Sequence[ClipRequest] = (),
    ) -> Reply:
        """One outcome per clip, in order, or `ModelError`; either in bounded time.

        Args:
            clips: mono float32 audio.
            sample_rate: of the clips, in hertz.
            requests: one per clip; empty for the defaults.
        """
        ...
