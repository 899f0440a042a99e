"""An engine that is right in every way, and engines that are wrong in one way each."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from msgspec.structs import replace

from schemas.failures import ErrorCode
from schemas.requests import ClipRequest
from schemas.settings import ModelSettings
from schemas.transcript import Word
from serve_app.audio.clip import Clip
from serve_app.engines.base import Hypothesis, Rejection
from serve_app.engines.errors import EngineError

Results = list[Hypothesis | Rejection]

_NAMES = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel"]
_PIECE_S = 0.25


class Good:
    """A word for each quarter of a second that is not silent, by its level."""

    sample_rate = 16_000
    sha256 = "0" * 64
    device = "cpu"

    def __init__(self, settings: ModelSettings) -> None:
        self.level = float(settings.options.get("level", 0.005))

    def transcribe(self, clips: Sequence[Clip], requests: Sequence[ClipRequest]) -> Results:
        return [self.hear(*pair) for pair in zip(clips, requests, strict=True)]

    def hear(self, clip: Clip, request: ClipRequest) -> Hypothesis | Rejection:
        if not len(clip) or not np.isfinite(clip).all():
            return Rejection(code=ErrorCode.MODEL_REJECTED, message="no samples, or no numbers")
        size = int(_PIECE_S * self.sample_rate)
        words = []
        for start in range(0, len(clip), size):
            piece = clip[start : start + size]
            level = float(np.sqrt(np.mean(piece**2)))
            if level > self.level:
                end = start + len(piece)
                name = _NAMES[int(level * 1000) % len(_NAMES)]
                times = start / self.sample_rate, end / self.sample_rate
                words.append(Word(name, *times, 1 - self.level / level))
        sure = [each.confidence or 0.0 for each in words]
        return Hypothesis(
            text=" ".join(each.word for each in words),
            confidence=sum(sure) / len(sure) if sure else None,
            words=words if request.words else None,
        )


class Changed(Good):
    """Its hypotheses are changed by `change`."""

    def change(self, heard: Hypothesis, clip: Clip, request: ClipRequest) -> Any:
        raise NotImplementedError

    def hear(self, clip: Clip, request: ClipRequest) -> Hypothesis | Rejection:
        heard = super().hear(clip, request)
        if isinstance(heard, Hypothesis):
            return cast(Hypothesis, self.change(heard, clip, request))
        return heard


def words_of(heard: Hypothesis) -> list[Word]:
    return heard.words or []


class Unfinished(Good):
    def __init__(self, settings: ModelSettings) -> None:
        raise FileNotFoundError("weights.bin")


class Signalling(Good):
    """Is at home in the main thread only."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__(settings)
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)


class Exiting(Good):
    def __init__(self, settings: ModelSettings) -> None:
        sys.exit("no licence")


class Unhearing:
    sample_rate = 16_000


class Fractional(Good):
    sample_rate = cast(int, 16_000.0)


class Kilohertz(Good):
    sample_rate = 16


class Unnamed(Good):
    sha256 = cast(str, None)


class Graphic(Good):
    device = "cuda:0"


class Undigested(Good):
    sha256 = "v1"


class Cold(Good):
    def warm_up(self) -> None:
        raise RuntimeError("no room")


class Choosy(Good):
    def transcribe(self, clips: Sequence[Clip], requests: Sequence[ClipRequest]) -> Results:
        raise ValueError("shapes")


class Nothing(Changed):
    def change(self, heard: Hypothesis, clip: Clip, request: ClipRequest) -> Any:
        return heard if len(clip) == self.sample_rate else None  # well at the health check


class TooMany(Good):
    def transcribe(self, clips: Sequence[Clip], requests: Sequence[ClipRequest]) -> Results:
        heard = super().transcribe(clips, requests)
        return heard if len(clips) == 1 else [*heard, heard[0]]


class Certain(Changed):
    def change(self, heard: Hypothesis, clip: Clip, request: ClipRequest) -> Any:
        return replace(heard, confidence=130.0 if len(clip) > self.sample_rate else 1.0)


class Refusing(Changed):
    def change(self, heard: Hypothesis, clip: Clip, request: ClipRequest) -> Any:
        if len(clip) > self.sample_rate:
            return Rejection(code=ErrorCode.MODEL_REJECTED, message="not today")
        return heard


class Deaf(Changed):
    def change(self, heard: Hypothesis, clip: Clip, request: ClipRequest) -> Any:
        return Hypothesis(text="")


class Moody(Changed):
    counter = itertools.count()

    def change(self, heard: Hypothesis, clip: Clip, request: ClipRequest) -> Any:
        if not heard.text or request.words:
            return heard
        return replace(heard, text=f"{heard.text} {next(self.counter)}")


class Sorting(Good):
    def transcribe(self, clips: Sequence[Clip], requests: Sequence[ClipRequest]) -> Results:
        pairs = sorted(zip(clips, requests, strict=True), key=lambda pair: len(pair[0]))
        return [self.hear(*pair) for pair in pairs]


class Padding(Good):
    def transcribe(self, clips: Sequence[Clip], requests: Sequence[ClipRequest]) -> Results:
        longest = max(map(len, clips))
        rest = [np.full(longest - len(clip), 0.1, np.float32) for clip in clips]
        return super().transcribe(
            [np.concatenate(pair) for pair in zip(clips, rest, strict=True)], requests
        )


class Averaging(Good):
    def transcribe(self, clips: Sequence[Clip], requests: Sequence[ClipRequest]) -> Results:
        longest = max(map(len, clips))
        return [
            replace(each, confidence=(each.confidence or 0.0) * len(clip) / longest)
            if isinstance(each, Hypothesis)
            else each
            for clip, each in zip(clips, super().transcribe(clips, requests), strict=True)
        ]


class Few(Good):
    def transcribe(self, clips: Sequence[Clip], requests: Sequence[ClipRequest]) -> Results:
        if len(clips) > 16:
            raise RuntimeError("at most 16 clips")
        return super().transcribe(clips, requests)


class Talkative(Good):
    def hear(self, clip: Clip, request: ClipRequest) -> Hypothesis | Rejection:
        return super().hear(clip, ClipRequest(words=True))


class Wordless(Good):
    def hear(self, clip: Clip, request: ClipRequest) -> Hypothesis | Rejection:
        return super().hear(clip, ClipRequest())


class Milliseconds(Changed):
    def change(self, heard: Hypothesis, clip: Clip, request: ClipRequest) -> Any:
        words = [
            replace(each, start=1e3 * each.start, end=1e3 * each.end) for each in words_of(heard)
        ]
        return replace(heard, words=words if request.words else None)


class Backwards(Changed):
    def change(self, heard: Hypothesis, clip: Clip, request: ClipRequest) -> Any:
        times = [(each.start, each.end) for each in reversed(words_of(heard))]
        pairs = zip(words_of(heard), times, strict=True)
        words = [replace(word, start=start, end=end) for word, (start, end) in pairs]
        return replace(heard, words=words if request.words else None)


class Timeless(Changed):
    def change(self, heard: Hypothesis, clip: Clip, request: ClipRequest) -> Any:
        words = [replace(each, start=0.0, end=0.0) for each in words_of(heard)]
        return replace(heard, words=words if request.words else None)


class Loud(Changed):
    def change(self, heard: Hypothesis, clip: Clip, request: ClipRequest) -> Any:
        words = [replace(each, word=each.word.upper()) for each in words_of(heard)]
        return replace(heard, words=words if request.words else None)


class Unsure(Changed):
    def change(self, heard: Hypothesis, clip: Clip, request: ClipRequest) -> Any:
        return replace(heard, confidence=None)


class Sure(Changed):
    def change(self, heard: Hypothesis, clip: Clip, request: ClipRequest) -> Any:
        return replace(heard, confidence=1.0)


class Shy(Changed):
    def change(self, heard: Hypothesis, clip: Clip, request: ClipRequest) -> Any:
        if heard.text or len(clip) < self.sample_rate:
            return heard
        return Rejection(code=ErrorCode.MODEL_REJECTED, message="nobody speaks")


class Afraid(Changed):
    def change(self, heard: Hypothesis, clip: Clip, request: ClipRequest) -> Any:
        if len(clip) > self.sample_rate and not clip.any():
            raise ZeroDivisionError("level")
        return heard


class Dreaming(Changed):
    def change(self, heard: Hypothesis, clip: Clip, request: ClipRequest) -> Any:
        dreams = not heard.text and len(clip) > self.sample_rate
        return replace(heard, text="thank you for watching") if dreams else heard


class Framed(Good):
    def hear(self, clip: Clip, request: ClipRequest) -> Hypothesis | Rejection:
        if len(clip) == 1:
            raise ValueError("no frame")
        return super().hear(clip, request)


class Filled(Good):
    def hear(self, clip: Clip, request: ClipRequest) -> Hypothesis | Rejection:
        if not len(clip):
            raise ValueError("no samples")
        return super().hear(clip, request)


class Forgetful(Good):
    """Cuts what is longer than 30 s, as models of a fixed window do."""

    def hear(self, clip: Clip, request: ClipRequest) -> Hypothesis | Rejection:
        return super().hear(clip[: 30 * self.sample_rate], request)


class Brief(Good):
    def hear(self, clip: Clip, request: ClipRequest) -> Hypothesis | Rejection:
        if len(clip) > 30 * self.sample_rate:
            return Rejection(code=ErrorCode.MODEL_REJECTED, message="over 30 s")
        return super().hear(clip, request)


class English(Good):
    def hear(self, clip: Clip, request: ClipRequest) -> Hypothesis | Rejection:
        assert {None: 0, "en": 1}[request.language] >= 0
        return super().hear(clip, request)


class Loyal(Good):
    def hear(self, clip: Clip, request: ClipRequest) -> Hypothesis | Rejection:
        if request.language not in (None, "en"):
            return Rejection(code=ErrorCode.MODEL_REJECTED, message="not English")
        return super().hear(clip, request)


class Boasting(Changed):
    def change(self, heard: Hypothesis, clip: Clip, request: ClipRequest) -> Any:
        return replace(heard, phrases=2 * len(request.phrases) if request.phrases else None)


class Common(Good):
    """Takes the phrases of the first clip for those of all."""

    def transcribe(self, clips: Sequence[Clip], requests: Sequence[ClipRequest]) -> Results:
        heard = super().transcribe(clips, requests)
        phrases = len(requests[0].phrases) or None
        return [
            replace(each, phrases=phrases) if isinstance(each, Hypothesis) else each
            for each in heard
        ]


class Ascii(Good):
    def hear(self, clip: Clip, request: ClipRequest) -> Hypothesis | Rejection:
        [each.encode("ascii") for each in request.phrases]
        return super().hear(clip, request)


class Centring(Good):
    """Takes the mean off, in place."""

    def hear(self, clip: Clip, request: ClipRequest) -> Hypothesis | Rejection:
        if len(clip):
            clip -= clip.mean()
        return super().hear(clip, request)


class Demanding(Good):
    """Makes clips writable."""

    def hear(self, clip: Clip, request: ClipRequest) -> Hypothesis | Rejection:
        clip.setflags(write=True)
        return super().hear(clip, request)


class Marking(Good):
    """Writes where it may."""

    def hear(self, clip: Clip, request: ClipRequest) -> Hypothesis | Rejection:
        heard = super().hear(clip, request)
        if clip.flags.writeable:
            clip[:1] = 0
        return heard


class Remembering(Good):
    def __init__(self, settings: ModelSettings) -> None:
        super().__init__(settings)
        self.state = 0.0

    def hear(self, clip: Clip, request: ClipRequest) -> Hypothesis | Rejection:
        self.state += float(clip[:1].sum()) * 0  # NaN for ever after one that is not finite
        return super().hear(clip + np.float32(self.state), request)


class Spreading(Good):
    """One clip that is not finite leaves nothing of its batch."""

    def transcribe(self, clips: Sequence[Clip], requests: Sequence[ClipRequest]) -> Results:
        if not all(np.isfinite(clip).all() for clip in clips):
            return [Hypothesis(text="") for _ in clips]
        return super().transcribe(clips, requests)


class GivingUp(Good):
    def hear(self, clip: Clip, request: ClipRequest) -> Hypothesis | Rejection:
        if not np.isfinite(clip).all():
            raise EngineError("the GPU failed")
        return super().hear(clip, request)


class Killing(Good):
    """Ends its process over silence, as a library that crashes does."""

    def hear(self, clip: Clip, request: ClipRequest) -> Hypothesis | Rejection:
        if len(clip) > self.sample_rate and not clip.any():
            os._exit(3)
        return super().hear(clip, request)


class Hanging(Good):
    def __init__(self, settings: ModelSettings) -> None:
        while True:
            time.sleep(1)
