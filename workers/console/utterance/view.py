"""What the page of an utterance shows, gathered from its transcript."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from schemas.settings import Settings, plan_text
from schemas.transcript import ChannelTranscript, Timings, Transcript, Word
from serve_app.routing.written_words import written_words
from serve_app.scoring.alignment import Piece, align
from workers.console.text import shown
from workers.console.utterance.network import MAX_WORDS, Member, Network, network_of

#: Words that are shown one by one: a page with more of them is slow.
_MAX_SHOWN = 5000
_MEMBER_KEY = "pred_text_"


@dataclass(frozen=True)
class Heard:
    """What the models heard, of the whole or of one channel.

    Attributes:
        channel: its number; None for the whole.
        text: that was chosen.
        members: of the ensemble; empty for a model alone.
        network: None where there is no ensemble, or where it is too long.
    """

    channel: int | None
    text: str
    members: tuple[Member, ...]
    network: Network | None


@dataclass(frozen=True)
class View:
    """The page's content.

    Attributes:
        transcript: of the utterance.
        words: as they are written, with their times; None where there are none.
        heard: by which models.
        differences: from the reference; None without one, or where it is too long.
        reasons: why this plan or model, in words, each with what it is about.
        measures: of the audio, by name.
        timings: in milliseconds, by name.
        extra: keys of the record that Chorus does not know.
    """

    transcript: Transcript
    words: Sequence[Word] | None
    heard: tuple[Heard, ...]
    differences: list[Piece] | None
    reasons: list[tuple[str, str]]
    measures: Mapping[str, float | str]
    timings: Mapping[str, float]
    extra: Mapping[str, Any]


def view_of(
    transcript: Transcript, settings: Settings, members: Sequence[Member] | None = None
) -> View:
    """Gather what is shown of a transcript; takes a few milliseconds.

    Args:
        transcript: of the utterance.
        settings: for what the plan is made of; the transcript may be older.
        members: what each model heard, with its words; unless given, the texts that the transcript
            has of them.
    """
    return View(
        transcript=transcript,
        words=_words(transcript),
        heard=tuple(_heard(transcript, members)),
        differences=_differences(transcript),
        reasons=list(_reasons(transcript, settings)),
        measures=transcript.audio_measures,
        timings=_timings(transcript.timings),
        extra={k: v for k, v in transcript.extra.items() if not k.startswith(_MEMBER_KEY)},
    )


def _words(transcript: Transcript) -> Sequence[Word] | None:
    words = transcript.words
    if words is None or len(words) > _MAX_SHOWN:
        return None
    if transcript.heard_text is not None and transcript.channels is None:
        return written_words(words, transcript.pred_text)
    return words


def _heard(transcript: Transcript, members: Sequence[Member] | None) -> Iterator[Heard]:
    if transcript.channels is not None:
        for each in transcript.channels:
            words = [w for w in transcript.words or () if w.channel == each.channel]
            yield _heard_on(each, words or None, transcript.lang)
        return
    if members is None:
        members = _members(transcript)
    chosen = transcript.ensemble_pred_text
    if chosen is None:
        chosen = transcript.heard_text or transcript.pred_text
    network = network_of(chosen, transcript.words, members, transcript.lang) if members else None
    yield Heard(None, chosen, tuple(members), network)


def _members(transcript: Transcript) -> list[Member]:
    if transcript.ensemble_model_count is None:
        return []
    texts = {
        key.removeprefix(_MEMBER_KEY): value
        for key, value in transcript.extra.items()
        if key.startswith(_MEMBER_KEY) and isinstance(value, str)
    }
    return [Member(model, text) for model, text in texts.items()]


def _heard_on(channel: ChannelTranscript, words: list[Word] | None, lang: str | None) -> Heard:
    members = tuple(Member(model, text) for model, text in (channel.pred_texts or {}).items())
    chosen = channel.heard_text or channel.text
    network = network_of(chosen, words, members, lang) if members else None
    return Heard(channel.channel, chosen, members, network)


def _differences(transcript: Transcript) -> list[Piece] | None:
    reference = transcript.text
    if reference is None or max(map(_count, (reference, transcript.pred_text))) > 4 * MAX_WORDS:
        return None
    pieces = align(reference, transcript.pred_text)
    return [Piece(each.kind, shown(each.spoken), shown(each.heard)) for each in pieces]


def _count(text: str) -> int:
    return len(text.split())


def _reasons(transcript: Transcript, settings: Settings) -> Iterator[tuple[str, str]]:
    match transcript.rule:
        case "default":
            yield "Rule", "default: no other rule held"
        case "requested":
            yield "Rule", "requested: the caller named the plan or model"
        case _:
            values = ", ".join(f"{key} = {_value(v)}" for key, v in transcript.rule_values.items())
            yield "Rule", f"{transcript.rule}{': ' if values else ''}{values}"
    if transcript.plan is not None:
        plan = settings.plans.get(transcript.plan)
        about = f": {plan_text(plan)}" if plan is not None else ", which these settings do not have"
        yield "Plan", f"{transcript.plan}{about}"
        if plan is not None and plan.ensemble is not None and plan.combine is not None:
            yield "Combined by", plan.combine.method
    if transcript.processing_tier is not None:
        yield "Tier", _tier(transcript)
    if transcript.fallback_from is not None:
        yield "Fallback", f"{transcript.fallback_from} had no text itself"
    for model, code in (transcript.failed_models or {}).items():
        yield "Failed", f"{model}: {code}"
    if transcript.arm is not None:
        yield "Rollout", f"the {transcript.arm} made the text"


def _tier(transcript: Transcript) -> str:
    tier = (transcript.processing_tier or "").replace("_", " ")
    if transcript.screening_wer is not None:
        return f"{tier}: the first model has a WER of {transcript.screening_wer:.1f}%"
    return f"{tier}, by the confidence of the first model"


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _timings(timings: Timings) -> dict[str, float]:
    names = {"audio_ms": "audio", "queue_ms": "queue", "model_ms": "model", "total_ms": "total"}
    found = msgspec.structs.asdict(timings)
    return {name: found[key] for key, name in names.items()}
