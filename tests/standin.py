"""A stand-in engine: real behaviour at the protocol, without a real model's cost.

Named in settings as ``tests.standin:StandInEngine``. Its text follows from the samples alone, so
every replica says the same about the same clip. Clips can be marked (`marked_clip`) to make it
reject, raise, hang or kill its process, as a broken clip does to a real model.

Options (`ModelSettings.options`):
    delay_per_second: seconds that one second of audio takes (default 0: as fast as it can).
    sample_rate: hertz (default 16000).
    gate: path of a file; while it exists, the engine waits before each batch.
    events: path of a file to which it appends a line per batch: "start 3" and "end 3" (clips).
    load_seconds: how long loading takes.
    fail_to_load: raise in the constructor.
"""

from __future__ import annotations

import hashlib
import os
import time
import zlib
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from schemas.failures import ErrorCode
from schemas.requests import ClipRequest
from schemas.settings import ModelSettings
from schemas.transcript import Word
from serve_app.audio.clip import Clip
from serve_app.engines.base import Hypothesis, Language, Rejection

Mark = Literal["crash", "raise", "hang", "reject", "break", "nothing", "devour"]

#: The level that the first `MARK_SAMPLES` samples of a marked clip have.
MARKS: dict[Mark, float] = {
    "crash": 0.9,
    "raise": 0.8,
    "hang": 0.7,
    "reject": 0.6,
    "break": 0.5,
    "nothing": 0.4,
    "devour": 0.97,
}
MARK_SAMPLES = 400
DEVOURED_BYTES = 6 << 30
_BITE_BYTES = 100 << 20

_BITES = range(DEVOURED_BYTES // _BITE_BYTES)
_WORDS = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india"]


def marked_clip(mark: Mark, seconds: float = 0.5, sample_rate: int = 16_000) -> Clip:
    """A clip that makes the engine `mark`; written to a 16-bit file it keeps its mark.

    "crash" ends the process, "raise" raises for the whole batch, "hang" never returns, "reject"
    is rejected, "nothing" has None for a result, "break" makes this and every later call raise, and
    "devour" takes up to `DEVOURED_BYTES` of memory before it hangs.
    """
    clip = np.zeros(int(seconds * sample_rate), np.float32)
    clip[:MARK_SAMPLES] = MARKS[mark]
    return clip


def text_of(clip: Clip) -> str:
    """What the engine hears in `clip`: three words, from the samples at 16-bit resolution."""
    digest = zlib.crc32(np.round(np.asarray(clip) * 32767).astype("<i2").tobytes())
    return " ".join(_WORDS[(digest >> shift) % len(_WORDS)] for shift in (0, 8, 16))


class StandInEngine:
    """See the module's docstring."""

    def __init__(self, settings: ModelSettings) -> None:
        options: dict[str, Any] = settings.options
        time.sleep(options.get("load_seconds", 0.0))
        if options.get("fail_to_load"):
            raise RuntimeError("told to fail")
        self.sample_rate: int = options.get("sample_rate", 16_000)
        self.sha256 = hashlib.sha256(repr(sorted(options.items())).encode()).hexdigest()
        self.device = "cpu"
        self._delay: float = options.get("delay_per_second", 0.0)
        self._gate: str | None = options.get("gate")
        self._events: str | None = options.get("events")
        self._broken = False

    def transcribe(
        self, clips: Sequence[Clip], requests: Sequence[ClipRequest]
    ) -> list[Hypothesis | Rejection]:
        self._note(f"start {len(clips)}")
        while self._gate is not None and os.path.exists(self._gate):
            time.sleep(0.01)
        marks = [_mark_of(clip) for clip in clips]
        self._obey(marks)
        if self._delay:
            time.sleep(self._delay * sum(map(len, clips)) / self.sample_rate)
        results = [
            _WITHOUT_TEXT[mark] if mark in _WITHOUT_TEXT else self._hear(clip, request.words)
            for clip, request, mark in zip(clips, requests, marks, strict=True)
        ]
        self._note(f"end {len(clips)}")
        return results

    def _obey(self, marks: Sequence[Mark | None]) -> None:
        if "crash" in marks:
            os._exit(1)
        if "devour" in marks:
            self._devoured = [np.ones(_BITE_BYTES, np.uint8) for _ in _BITES]
        while "hang" in marks or "devour" in marks:
            time.sleep(1)
        self._broken = self._broken or "break" in marks
        if self._broken or "raise" in marks:
            raise RuntimeError("told to raise")

    def _hear(self, clip: Clip, words: bool) -> Hypothesis:
        text = text_of(clip)
        length = len(clip) / self.sample_rate / 3
        timed = [
            Word(word=word, start=index * length, end=(index + 1) * length, confidence=0.5)
            for index, word in enumerate(text.split())
        ]
        return Hypothesis(text=text, confidence=0.5, words=timed if words else None)

    def _note(self, event: str) -> None:
        if self._events is not None:
            with open(self._events, "a", encoding="utf-8") as file:
                file.write(event + "\n")


class Polyglot(StandInEngine):
    """Identifies languages, too: German where the first sample is below zero, else English."""

    def identify_languages(self, clips: Sequence[Clip]) -> list[Language]:
        return [Language("de" if clip[0] < 0 else "en", 0.75) for clip in clips]


#: What is given for a clip with such a mark; None is what no engine may give.
_WITHOUT_TEXT: dict[Mark | None, Any] = {
    "reject": Rejection(code=ErrorCode.MODEL_REJECTED, message="told to reject"),
    "nothing": None,
}


def _mark_of(clip: Clip) -> Mark | None:
    head = np.asarray(clip[:MARK_SAMPLES])
    if len(head) < MARK_SAMPLES:
        return None
    for mark, level in MARKS.items():
        if abs(float(head[0]) - level) < 0.01 and float(np.ptp(head)) < 0.02:
            return mark
    return None
