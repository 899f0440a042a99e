"""What the live page shows of a transcript: bounded, whatever is in the topic."""

from __future__ import annotations

import msgspec

from schemas.versions import SchemaVersionError, check_version
from workers.console.place import Place
from workers.kafka.protocols import Record

#: Characters that are kept of a text, and of a name.
MAX_TEXT, MAX_NAME = 1000, 120


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A transcript on the live page.

    Attributes:
        place: of its message.
        timestamp: Unix time of the message in seconds; None where it has none.
        id, text: of the transcript, cut.
        made_by: the plan, or the model where there is none.
        model: whose text it is.
        rule, domain: as in the transcript, cut.
        confidence: 0 to 1; None where there is none.
        wer: in percent; None without a reference.
        duration: of the audio, in seconds.
        fallback: whether the plan had no text itself.
        fault: why it cannot be read; everything else is empty then.
    """

    place: Place
    timestamp: float | None = None
    id: str = ""
    text: str = ""
    made_by: str = ""
    model: str = ""
    rule: str = ""
    domain: str = ""
    confidence: float | None = None
    wer: float | None = None
    duration: float = 0.0
    fallback: bool = False
    fault: str = ""


class _Shown(msgspec.Struct, frozen=True):
    """The keys of a transcript that are shown; to decode all of them takes eight times as long."""

    id: str
    duration: float
    pred_text: str
    selected_model: str
    rule: str
    plan: str | None = None
    fallback_from: str | None = None
    domain: str | None = None
    confidence: float | None = None
    wer: float | None = None


_decoder = msgspec.json.Decoder(_Shown)


def row_of(message: Record) -> Row | None:
    """The row of a message; None for one without a value."""
    if message.value is None:
        return None
    place = Place(message.topic, message.partition, message.offset)
    timestamp = message.timestamp / 1000 if message.timestamp > 0 else None
    try:
        check_version(message.headers, "transcript")
        found = _decoder.decode(message.value)
    except SchemaVersionError as error:
        return Row(place=place, timestamp=timestamp, fault=str(error))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Row(place=place, timestamp=timestamp, fault="is no transcript")
    return _row(place, timestamp, found)


def _row(place: Place, timestamp: float | None, found: _Shown) -> Row:
    return Row(
        place=place,
        timestamp=timestamp,
        id=found.id[:MAX_NAME],
        text=found.pred_text[:MAX_TEXT],
        made_by=(found.plan or found.selected_model)[:MAX_NAME],
        model=found.selected_model[:MAX_NAME],
        rule=found.rule[:MAX_NAME],
        domain=(found.domain or "")[:MAX_NAME],
        confidence=found.confidence,
        wer=found.wer,
        duration=found.duration,
        fallback=found.fallback_from is not None,
    )
