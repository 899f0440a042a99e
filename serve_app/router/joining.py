"""One transcript of the transcripts of a record's channels."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec
from msgspec.structs import replace

from schemas.manifest import ManifestRecord
from schemas.transcript import ChannelTranscript, Timings, Transcript, Word
from serve_app.router.turns import in_turns, text_of
from serve_app.routing.written_words import written_words
from serve_app.scoring.wer import count_errors

#: What a plan says of the one clip that it transcribed, and what makes no sense of several.
_OF_ONE_CLIP = (
    "heard_text",
    "ensemble_pred_text",
    "ensemble_model_count",
    "screening_pred",
    "screening_wer",
    "final_pred",
    "processing_tier",
)
#: What the transcript of a channel has under the same names.
_OF_A_CHANNEL = [
    each.name
    for each in msgspec.structs.fields(ChannelTranscript)
    if each.name in Transcript.__struct_fields__ and each.name not in ("channel", "text")
]


def joined(
    record: ManifestRecord,
    channels: Sequence[Transcript],
    equal: Sequence[int],
    members: Collection[str],
) -> Transcript:
    """The transcript of `record`, with what is said on all of its channels in time order.

    Args:
        record: the record.
        channels: the transcripts of its channels, in their order.
        equal: further channels that hold the same as the first one.
        members: the keys that the texts of members of an ensemble have.
    """
    first = max(channels, key=lambda each: len(each.pred_text.split()))
    text = text_of(in_turns({place: _said(each) for place, each in enumerate(channels)}))
    errors = count_errors(record.text, text, lang=record.lang) if record.text is not None else None
    suppressed = [
        replace(some, channel=place)
        for place, each in enumerate(channels)
        for some in each.suppressed or ()
    ]
    return replace(
        first,
        **dict.fromkeys(_OF_ONE_CLIP),
        channel=record.channel,
        text=record.text,
        pred_text=text,
        suppressed=sorted(suppressed, key=lambda each: each.start) or None,
        words=_words(channels),
        confidence=_confidence(channels),
        phrases_used=_fewest(channels),
        failed_models={k: v for each in channels for k, v in (each.failed_models or {}).items()}
        or None,
        wer=errors.percent if errors else None,
        word_errors=errors.errors if errors else None,
        reference_words=errors.reference if errors else None,
        channels=[
            _channel(place, each, equal if place == 0 else (), members)
            for place, each in enumerate(channels)
        ],
        timings=_timings(channels),
        extra={key: value for key, value in first.extra.items() if key not in members},
    )


def _channel(
    place: int, found: Transcript, equal: Sequence[int], members: Collection[str]
) -> ChannelTranscript:
    texts = {
        key.removeprefix("pred_text_"): text for key, text in found.extra.items() if key in members
    }
    return ChannelTranscript(
        channel=place,
        text=found.pred_text,
        equal=list(equal) or None,
        pred_texts=texts or None,
        **{name: getattr(found, name) for name in _OF_A_CHANNEL},
    )


def _said(found: Transcript) -> Sequence[Word]:
    """The words of a channel, as its text has them; all of it as one where there are no times."""
    if not found.words:
        whole = Word(found.pred_text, 0.0, found.duration, found.confidence)
        return [whole] if found.pred_text else []
    if found.heard_text is None:
        return found.words
    return written_words(found.words, found.pred_text)


def _words(channels: Sequence[Transcript]) -> list[Word] | None:
    if all(each.words is None for each in channels):
        return None
    words = [
        replace(word, channel=place)
        for place, each in enumerate(channels)
        for word in each.words or ()
    ]
    return sorted(words, key=lambda word: word.start)


def _confidence(channels: Sequence[Transcript]) -> float | None:
    """The mean of those of the channels, each for as much as it has words."""
    sure = [
        (each.confidence, len(each.pred_text.split()))
        for each in channels
        if each.confidence is not None and each.pred_text
    ]
    words = sum(count for _, count in sure)
    if not words:
        return None
    return round(sum(confidence * count for confidence, count in sure) / words, 4)


def _fewest(channels: Sequence[Transcript]) -> dict[str, int] | None:
    """How many phrases each model listened for, on the channel with the fewest."""
    fewest: dict[str, int] = {}
    for each in channels:
        for model, count in (each.phrases_used or {}).items():
            fewest[model] = min(count, fewest.get(model, count))
    return fewest or None


def _timings(channels: Sequence[Transcript]) -> Timings:
    timings = [each.timings for each in channels]
    return Timings(
        audio_ms=sum(each.audio_ms for each in timings),
        queue_ms=max(each.queue_ms for each in timings),
        model_ms=sum(each.model_ms for each in timings),
        total_ms=max(each.total_ms for each in timings),
    )
