"""What one transcript says of its model and of its audio, in numbers."""

from __future__ import annotations

from collections import Counter, deque
from enum import StrEnum
from typing import Any

import msgspec

from schemas.transcript import Transcript
from serve_app.engines.repetition import compression_ratio
from serve_app.scoring.wer import compared_words, count_errors

#: A text that compresses by more than this repeats itself (the limit of Whisper's authors).
_REPEATS_ABOVE = 2.4
#: A text of fewer words is often said twice.
_SHORT = 4
#: Share of samples at full scale above which a record is clipped: it is audible.
_CLIPPED = 0.001
#: Texts of a series that a new one is compared with.
_RECENT = 200


class Kind(StrEnum):
    """What a measure is of: words against a reference, the text by itself, or the audio."""

    WER = "wer"
    TEXT = "text"
    AUDIO = "audio"


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """A measure of transcripts, over many of them a sum divided by a sum.

    Attributes:
        name: of the measure.
        kind: what it is of.
        worse: 1 where more of it is worse, -1 where less of it is, 0 where neither can be said.
        unit: of the ratio; "%" for what is shown times 100.
        share: whether it is a share of the records.
        least: the smallest change that matters, in the unit of the ratio, ...
        relative: ... or as a factor of what it was.
    """

    name: str
    kind: Kind
    worse: int = 0
    unit: str = ""
    share: bool = False
    least: float
    relative: bool = False


def _share(name: str, kind: Kind, worse: int = 0) -> Measure:
    return Measure(name=name, kind=kind, worse=worse, unit="%", share=True, least=0.005)


#: All measures. The audio's are those of `schemas.settings.MEASURES`, as means over records; of
#: clipping, the share of the records with more than `_CLIPPED`.
MEASURES = (
    Measure(name="wer", kind=Kind.WER, worse=1, unit="%", least=0.05, relative=True),
    Measure(name="confidence", kind=Kind.TEXT, worse=-1, least=0.005),
    Measure(name="disagreement", kind=Kind.TEXT, worse=1, unit="%", least=0.05, relative=True),
    _share("empty", Kind.TEXT, 1),
    _share("repeating", Kind.TEXT, 1),
    _share("duplicate", Kind.TEXT, 1),
    Measure(name="words_per_second", kind=Kind.TEXT, unit="/s", least=0.02, relative=True),
    Measure(name="seconds", kind=Kind.AUDIO, unit="s", least=0.05, relative=True),
    Measure(name="snr_db", kind=Kind.AUDIO, unit="dB", least=1.0),
    Measure(name="level_dbfs", kind=Kind.AUDIO, unit="dB", least=1.0),
    Measure(name="bandwidth_hz", kind=Kind.AUDIO, unit="Hz", least=0.05, relative=True),
    _share("clipping", Kind.AUDIO),
    Measure(name="speech_share", kind=Kind.AUDIO, unit="%", least=0.02),
)
_OF_AUDIO = tuple(each.name for each in MEASURES if each.kind is Kind.AUDIO)

#: The domain of records whose own is not told apart from others.
OTHER = "other"


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """What one transcript says. Without any speech.

    Attributes:
        time: Unix time in seconds of its message; None if it came from a file.
        model: name of the model.
        domain: of the record; empty without one.
        version: of the model, or the first 12 digits of its file's SHA-256; empty without either.
        values: numerator and denominator by measure, for the measures that it has.
    """

    time: float | None
    model: str
    domain: str
    version: str
    values: dict[str, tuple[float, float]]


class Observer:
    """Takes transcripts in the order of a topic, and remembers the last texts of each model.

    Args:
        domains: those that are told apart; the domain of others is `OTHER`. None for all.
    """

    def __init__(self, domains: frozenset[str] | None = None) -> None:
        self._domains = domains
        self._recent: dict[tuple[str, str], _Recent] = {}

    def observe(self, transcript: Transcript, time: float | None = None) -> Observation:
        """What `transcript` says.

        Args:
            transcript: the next one.
            time: Unix time in seconds of its message, if it has one.
        """
        domain = transcript.domain or ""
        if domain and self._domains is not None and domain not in self._domains:
            domain = OTHER
        model = transcript.selected_model
        recent = self._recent.setdefault((model, domain), _Recent())
        return Observation(
            time=time,
            model=model,
            domain=domain,
            version=transcript.model_version or transcript.model_sha256[:12],
            values={**_of_text(transcript, recent), **_of_audio(transcript)},
        )


class _Recent:
    """Digests of the last texts of a series."""

    def __init__(self) -> None:
        self._order: deque[int] = deque()
        self._times: Counter[int] = Counter()

    def holds(self, words: list[str]) -> bool:
        """Whether the text is among them; it is from now on."""
        digest = hash(tuple(words))
        known = self._times[digest] > 0
        self._order.append(digest)
        self._times[digest] += 1
        if len(self._order) > _RECENT:
            oldest = self._order.popleft()
            self._times[oldest] -= 1
            if not self._times[oldest]:
                del self._times[oldest]
        return known


def _of_text(transcript: Transcript, recent: _Recent) -> dict[str, tuple[float, float]]:
    found: dict[str, tuple[float, float]] = {}
    if transcript.word_errors is not None and transcript.reference_words is not None:
        found["wer"] = (transcript.word_errors, transcript.reference_words)
    if transcript.confidence is not None:
        found["confidence"] = (transcript.confidence, 1)
    words = compared_words(transcript.pred_text, lang=transcript.lang)
    found["empty"] = (not words, 1)
    found["repeating"] = (compression_ratio(transcript.pred_text) > _REPEATS_ABOVE, 1)
    found["duplicate"] = (len(words) >= _SHORT and recent.holds(words), 1)
    found["words_per_second"] = (len(words), transcript.transcribed_seconds)
    members = _members(transcript)
    if members:
        text = transcript.heard_text or transcript.pred_text
        apart = [count_errors(text, each, lang=transcript.lang) for each in members]
        found["disagreement"] = (
            sum(each.errors for each in apart),
            sum(each.reference for each in apart),
        )
    return found


def _members(transcript: Transcript) -> list[str]:
    """The hypotheses of an ensemble's members, or that of the first tier."""
    if transcript.ensemble_model_count is not None:
        return [
            text
            for key, text in transcript.extra.items()
            if key.startswith("pred_text_") and isinstance(text, str)
        ]
    return [] if transcript.screening_pred is None else [transcript.screening_pred]


def _of_audio(transcript: Transcript) -> dict[str, tuple[float, float]]:
    measures: dict[str, Any] = {"seconds": transcript.duration, **transcript.audio_measures}
    found = {
        name: (float(measures[name]), 1.0)
        for name in _OF_AUDIO
        if isinstance(measures.get(name), int | float)
    }
    if "clipping" in found:
        found["clipping"] = (found["clipping"][0] > _CLIPPED, 1)
    return found
