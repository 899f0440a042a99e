"""The transcript: what Chorus says about one record. Itself a NeMo manifest line."""

from __future__ import annotations

from typing import Any

import msgspec

from schemas.failures import RecordError
from schemas.manifest import ManifestRecord, flatten


class Word(msgspec.Struct, frozen=True):
    """One word of a hypothesis; times in seconds from the start of the segment."""

    word: str
    start: float
    end: float
    confidence: float | None = None


class Timings(msgspec.Struct, kw_only=True):
    """Where a record's time went, in milliseconds of wall time.

    Attributes:
        audio_ms: reading, decoding, resampling and measuring its audio.
        queue_ms: waiting in the model's queue.
        model_ms: its share of the batch that it was transcribed in, by seconds of audio.
        total_ms: from the Router's receipt of the list to the result.
    """

    audio_ms: float = 0.0
    queue_ms: float = 0.0
    model_ms: float = 0.0
    total_ms: float = 0.0


class Transcript(msgspec.Struct, kw_only=True):
    """One transcribed record. The keys of the manifest record come first, as they came in.

    Attributes:
        duration: seconds of audio that were transcribed (measured, not as claimed).
        pred_text: the hypothesis. Those of an ensemble's members are beside it, as
            ``pred_text_NAME``.
        heard_text: the hypothesis before the text rules of the settings, where they changed it.
            Words, and the texts of members and tiers, are as they were heard.
        selected_model: name of the model that made it; of a vote the one with most words in it.
        model_path: where that model was loaded from, as the settings name it.
        model_sha256: digest of the model file; empty for an engine without one.
        rule: name of the selection rule that chose the model, or "default".
        rule_values: the values by which that rule held, by field.
        audio_measures: what was measured of the audio, see `schemas.settings.MEASURES`, under the
            names without "audio.".
        phrases_used: of a record with `phrases`: how many of them each model listened for; 0 for a
            model that cannot.
        plan: name of the plan, where it was not a model alone.
        failed_models: models that gave no answer, with the reason's code.
        fallback_from: the plan or model that had no text, where a fallback had it.
        ensemble_pred_text, ensemble_model_count: of an ensemble: what came out, of how many.
        screening_pred, screening_wer, final_pred, processing_tier: of tiers: the first model's
            hypothesis, its WER where there is a reference, the last word, and whether that came
            from "high_quality" or "standard".
        confidence: 0 to 1, the mean of the words' confidences; None where the engine has none.
            Calibrated where the settings name a calibration.
        words: words with times and confidences, where asked for.
        wer: word error rate against `text` in percent; None without a reference or with an
            empty one. See `serve_app.wer` for the convention.
        word_errors: substitutions + insertions + deletions against `text`.
        reference_words: words of the normalised reference; pool `word_errors` over it.
    """

    id: str
    audio_filepath: str
    offset: float = 0.0
    duration: float
    text: str | None = None
    lang: str | None = None
    domain: str | None = None
    conditions: str | None = None
    phrases: list[str] | None = None
    pred_text: str
    selected_model: str
    model_path: str
    model_sha256: str = ""
    rule: str
    rule_values: dict[str, Any] = {}
    audio_measures: dict[str, float] = {}
    heard_text: str | None = None
    phrases_used: dict[str, int] | None = None
    plan: str | None = None
    failed_models: dict[str, str] | None = None
    fallback_from: str | None = None
    ensemble_pred_text: str | None = None
    ensemble_model_count: int | None = None
    screening_pred: str | None = None
    screening_wer: float | None = None
    final_pred: str | None = None
    processing_tier: str | None = None
    confidence: float | None = None
    words: list[Word] | None = None
    wer: float | None = None
    word_errors: int | None = None
    reference_words: int | None = None
    timings: Timings
    extra: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"Transcript(id={self.id!r}, selected_model={self.selected_model!r})"


_FIELDS = frozenset(f.name for f in msgspec.structs.fields(Transcript)) - {"extra"}


def encode_transcript(transcript: Transcript) -> bytes:
    """`transcript` as one line of JSON, without the newline."""
    return msgspec.json.encode(flatten(transcript))


def encode_failure(record: ManifestRecord | None, error: RecordError) -> bytes:
    """A record without a transcript as one line of JSON: its own keys and `processing_error`.

    Args:
        record: None for a line that is no record.
    """
    keys = flatten(record) if record is not None else {"id": error.id}
    return msgspec.json.encode({**keys, "processing_error": f"{error.code}: {error.message}"})


def decode_transcript(data: bytes) -> Transcript:
    """The inverse of `encode_transcript`.

    Raises:
        msgspec.ValidationError: a key is missing or wrong.
    """
    keys = msgspec.json.decode(data, type=dict[str, Any])
    known = {key: value for key, value in keys.items() if key in _FIELDS}
    known["extra"] = {key: value for key, value in keys.items() if key not in _FIELDS}
    return msgspec.convert(known, Transcript)
