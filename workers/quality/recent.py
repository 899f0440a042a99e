"""How models do at the moment: the latest messages of the topics, in a bounded time."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec

from schemas.metrics import MetricsEvent
from schemas.settings import KafkaSettings
from schemas.versions import SchemaVersionError
from workers.kafka.reader import read_latest
from workers.quality.reading import TimedTranscript, UnreadableMessageError, event_of, transcript_of
from workers.quality.summary import performance_summary

#: The latest transcripts that are read, and how old the oldest may be.
MOST, LAST_S = 4000, 3600.0
#: Seconds after which no more is read of a topic.
_WITHIN_S = 1.0


class Performance(msgspec.Struct, frozen=True, kw_only=True):
    """How models have done of late.

    Attributes:
        since: Unix time in seconds of the earliest transcript that was read.
        until: of the latest.
        models: `performance_summary` of each model, by name.
        unrouted: records of that time that became dead letters before they reached a model.
    """

    since: float
    until: float
    models: dict[str, dict[str, Any]]
    unrouted: int


def recent_performance(kafka: KafkaSettings, now: float) -> Performance | None:
    """Read the latest `MOST` transcripts, none older than `LAST_S`, and the events of their time.

    Blocks for some seconds at most, and raises like `workers.kafka.reader.read_latest`. Messages
    that cannot be read are left out.

    Args:
        kafka: the settings' section.
        now: Unix time in seconds.

    Returns:
        None where there are no such transcripts.
    """
    found: dict[str, list[TimedTranscript]] = defaultdict(list)
    latest = partial(read_latest, kafka, most=MOST, within_s=_WITHIN_S)
    for message in latest(kafka.topics.transcripts, since=now - LAST_S):
        with suppress(UnreadableMessageError, SchemaVersionError):
            timed = transcript_of(message)
            found[timed.transcript.selected_model].append(timed)
    times = [each.time for timed in found.values() for each in timed if each.time is not None]
    if not times:
        return None
    events: dict[str, list[MetricsEvent]] = defaultdict(list)
    for message in latest(kafka.topics.metrics, since=min(times)):
        with suppress(UnreadableMessageError, SchemaVersionError):
            event = event_of(message)
            events[event.model].append(event)
    return Performance(
        since=min(times),
        until=max(times),
        models={
            name: performance_summary(timed, events[name]) for name, timed in sorted(found.items())
        },
        unrouted=sum(each.dead_letters for each in events[""]),
    )
