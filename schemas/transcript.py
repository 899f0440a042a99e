"""The transcript: what Chorus publishes for one record, as a line of a NeMo manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from schemas.channels import Channel
from schemas.failures import RecordError
from schemas.manifest import ManifestRecord, flatten


class Word(msgspec.Struct, frozen=True):
    """One word of a hypothesis.

    Attributes:
        word: the word.
        start: its start in seconds from the start of the segment.
        end: its end in seconds from the start of the segment.
        confidence: 0 to 1; None where the engine has none.
        channel: number of the channel that it is said on, where each is transcribed by itself.
    """

    word: str
    start: float
    end: float
    confidence: float | None = None
    channel: int | UnsetType = UNSET


class Suppressed(msgspec.Struct, frozen=True, kw_only=True):
    """Words that a model heard where nobody speaks, and that were left out.

    Attributes:
        text: the words.
        start: in seconds from the start of the segment.
        end: in seconds from the start of the segment.
        channel: number of the channel, where each is transcribed by itself.
    """

    text: str
    start: float
    end: float
    channel: int | UnsetType = UNSET


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


class ChannelTranscript(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What one channel of a record became, where each is transcribed by itself.

    Attributes:
        channel: its number, from 0.
        text: the hypothesis; empty where nobody speaks.
        equal: further channels that hold the same audio. They are not transcribed again.
        heard_text, selected_model, model_sha256, model_version, arm: as in `Transcript`.
        rule, rule_values, plan, failed_models, fallback_from, processing_tier: likewise.
        ensemble_model_count, phrases_used, confidence, audio_measures: likewise.
        pred_texts: the hypotheses of an ensemble's members, by name.
    """

    channel: int
    text: str
    equal: list[int] | None = None
    heard_text: str | None = None
    selected_model: str
    model_sha256: str = ""
    model_version: str | None = None
    arm: str | None = None
    rule: str
    rule_values: dict[str, Any] = {}
    plan: str | None = None
    failed_models: dict[str, str] | None = None
    fallback_from: str | None = None
    processing_tier: str | None = None
    ensemble_model_count: int | None = None
    phrases_used: dict[str, int] | None = None
    confidence: float | None = None
    audio_measures: dict[str, float | str] = {}
    pred_texts: dict[str, str] | None = None

    def __repr__(self) -> str:
        return f"ChannelTranscript(channel={self.channel})"  # never the speech


class Transcript(msgspec.Struct, kw_only=True):
    """One transcribed record. The keys of the manifest record come first, as they came in.

    Attributes:
        id, audio_filepath, offset, text, lang, domain, conditions, phrases: as in the manifest
            record.
        duration: seconds of audio that were transcribed (measured, not as claimed).
        channel: the channel that was asked for, by the record or by `audio.channel` of the
            settings. Where that is "each", `pred_text` has what is said on all of them, turn by
            turn in time order, and everything else that a model or a rule decides is that of the
            channel with the most words.
        channels: of "each": the channels one by one.
        pred_text: the hypothesis. Those of an ensemble's members are beside it, as
            ``pred_text_NAME``.
        heard_text: the hypothesis before words were suppressed and before the text rules of the
            settings, where these changed it. The texts of members and tiers are as they were heard,
            and so are `words`, but for those that were suppressed.
        suppressed: what was left out because nobody speaks there, see
            `routing.max_no_speech_prob` and `http.max_no_speech_prob`.
        selected_model: name of the model that made it; of a vote the one with most words in it.
        model_path: where that model was loaded from, as the settings name it.
        model_sha256: SHA-256 digest of the model file; empty for an engine without one.
        model_version: the version of that model, where it has one.
        arm: where a rollout of that model is under way: "candidate" if its candidate made the text,
            "incumbent" if the version that serves did.
        rule: name of the routing rule that chose the plan or model, "default" if no rule held, or
            "requested" if the caller named the plan or model.
        rule_values: the values by which that rule held, by field.
        audio_measures: what was measured of the audio, see `schemas.settings.MEASURES`, under
            the names without "audio."; and `channel`, the number of the one that was taken, from
            0, where it was asked for or the channels of the file cancel each other.
        phrases_used: of a record with `phrases`: how many of them each model listened for; 0
            for a model that cannot.
        plan: name of the plan, where it was not a model alone.
        failed_models: models that gave no answer, with the error code of the reason; the one that
            identifies languages too, where it was asked.
        fallback_from: the plan that had no text itself, where the text is from its fallback.
        ensemble_pred_text: of an ensemble: the combined hypothesis.
        ensemble_model_count: of an ensemble: how many models took part.
        screening_pred: of tiers: the hypothesis of the first model.
        screening_wer: of tiers: WER of the first model in percent, where there is a reference.
        final_pred: of tiers: the text that was taken.
        processing_tier: of tiers: the tier that was chosen, "high_quality" or "standard". If its
            models failed, `final_pred` is the hypothesis of the first model.
        confidence: 0 to 1, the mean of the words' confidences; None where the engine has none.
            Calibrated where the settings name a calibration.
        words: words with times and confidences, where asked for. Of "each" those of all channels
            in time order, each with its channel.
        wer: word error rate against `text` in percent; None without a reference or with an
            empty one. See `serve_app.scoring.wer` for the convention.
        word_errors: substitutions + insertions + deletions against `text`; of an empty one, where
            nothing is said, all words that were heard. None without a reference.
        reference_words: words of the normalised reference; pool `word_errors` over it.
        timings: where the record's time went.
        resume_key: in a file that `chorus transcribe` has written: what the line was made from, as
            digests of the settings with their models and of the record. None elsewhere.
        extra: every other key of the record, untouched.
    """

    id: str
    audio_filepath: str
    offset: float = 0.0
    duration: float
    channel: Channel | None = None
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
    audio_measures: dict[str, float | str] = {}
    model_version: str | None = None
    arm: str | None = None
    heard_text: str | None = None
    suppressed: list[Suppressed] | None = None
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
    channels: list[ChannelTranscript] | None = None
    timings: Timings
    resume_key: str | None = None
    extra: dict[str, Any] = {}

    @property
    def transcribed_seconds(self) -> float:
        """Seconds of audio that were transcribed, over all channels."""
        return self.duration * len(self.channels or [None])

    def __repr__(self) -> str:
        return f"Transcript(id={self.id!r}, selected_model={self.selected_model!r})"


_FIELDS = frozenset(f.name for f in msgspec.structs.fields(Transcript)) - {"extra"}
#: Why a record has no transcript, as "code: message".
_FAILURE = "processing_error"
#: Keys that say what came of a record; only this work may say it.
_RESULTS = _FIELDS - {f.name for f in msgspec.structs.fields(ManifestRecord)} | {_FAILURE}


def encode_transcript(transcript: Transcript) -> bytes:
    """`transcript` as one line of JSON, without the newline.

    A `processing_error` that its record came with, from earlier work on it, is left out.
    """
    keys = flatten(transcript)
    keys.pop(_FAILURE, None)
    return msgspec.json.encode(keys)


def encode_failure(
    record: ManifestRecord | Mapping[str, Any], error: RecordError, resume_key: str | None = None
) -> bytes:
    """A record without a transcript as one line of JSON: its own keys and `processing_error`.

    Keys of a transcript that it came with, from earlier work on it, are left out.

    Args:
        record: the record, or what a line says that is none (`ManifestError.keys`).
        error: why there is no transcript.
        resume_key: as in `Transcript`.
    """
    own = flatten(record) if isinstance(record, ManifestRecord) else record
    keys = {**own, "id": error.id}
    keys = {key: value for key, value in keys.items() if not _is_result(key)}
    keys[_FAILURE] = f"{error.code}: {error.message}"
    if resume_key is not None:
        keys["resume_key"] = resume_key
    return msgspec.json.encode(keys)


def _is_result(key: str) -> bool:
    return key in _RESULTS or key.startswith("pred_text_")


def decode_transcript(data: bytes) -> Transcript:
    """The inverse of `encode_transcript`.

    Raises:
        msgspec.DecodeError: it is not a JSON object, or a key is missing or wrong.
    """
    keys = msgspec.json.decode(data, type=dict[str, Any])
    known = {key: value for key, value in keys.items() if key in _FIELDS}
    known["extra"] = {key: value for key, value in keys.items() if key not in _FIELDS}
    return msgspec.convert(known, Transcript)
