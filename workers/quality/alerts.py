"""Changes of quality as events on the metrics topic, for whoever is to be told."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from hashlib import blake2b
from typing import Any

from schemas.metrics import ChangedMeasure, MetricsEvent, QualityAlert
from schemas.settings import KafkaSettings
from schemas.versions import SchemaVersionError
from workers.kafka.clients import make_producer
from workers.kafka.messages import metrics_message
from workers.kafka.reader import read_topic
from workers.quality.reading import UnreadableMessageError, event_of
from workers.quality.verdict import DRIFT, Comparison, Finding

#: `worker` of the events.
WORKER = "chorus quality"


def alerts(findings: Iterable[Finding], now: float) -> list[MetricsEvent]:
    """An event for each comparison that somebody has to look at.

    Args:
        findings: of a report.
        now: Unix time in seconds, for series whose messages have no time.
    """
    return [
        _event(finding, comparison, now)
        for finding in findings
        for comparison in finding.comparisons
        if comparison.status in DRIFT
    ]


def publish(kafka: KafkaSettings, events: Iterable[MetricsEvent]) -> None:
    """Write events to the metrics topic, and wait until the brokers have them.

    Blocks and raises like `workers.kafka.clients.make_producer`.

    Raises:
        kafka.errors.KafkaError: the brokers refuse one.
    """
    producer: Any = make_producer(kafka)
    try:
        messages = [metrics_message(kafka.topics.metrics, event) for event in events]
        sent = [
            producer.send(each.topic, key=each.key, value=each.value, headers=each.headers)
            for each in messages
        ]
        producer.flush()
        for future in sent:
            future.get()
    finally:
        producer.close()


def alerts_since(kafka: KafkaSettings, since: float) -> set[str]:
    """The ids of the alerts that are on the metrics topic.

    Blocks and raises like `workers.kafka.reader.read_topic`.

    Args:
        kafka: the settings' section.
        since: Unix time in seconds of the earliest message.
    """
    found = set()
    for message in read_topic(kafka, kafka.topics.metrics, since=since):
        if message is not None and message.key == WORKER.encode():
            with suppress(UnreadableMessageError, SchemaVersionError):
                if event := event_of(message).alert:
                    found.add(event.id)
    return found


def _event(finding: Finding, comparison: Comparison, now: float) -> MetricsEvent:
    changed = [
        ChangedMeasure(
            name=each.measure,
            before=each.before,
            after=each.after,
            low=each.low,
            high=each.high,
            since=each.since,
        )
        for each in comparison.measures
        if each.at is not None
    ]
    end = now if finding.last is None else finding.last
    return MetricsEvent(
        worker=WORKER,
        interval_start=min((each.since for each in changed if each.since is not None), default=end),
        interval_end=end,
        model=finding.model,
        domain=finding.domain,
        records=0,
        dead_letters=0,
        retries=0,
        audio_seconds=0.0,
        model_seconds=0.0,
        rtfx=None,
        latency=None,
        word_errors=0,
        reference_words=0,
        references=0,
        wer=None,
        alert=QualityAlert(
            id=_id(finding, comparison),
            version=finding.version,
            against=comparison.against,
            status=comparison.status,
            cause=comparison.cause or "",
            measures=changed,
        ),
    )


def _id(finding: Finding, comparison: Comparison) -> str:
    parts = (
        finding.model,
        finding.domain,
        finding.version,
        comparison.against or "",
        comparison.status,
        comparison.cause or "",
    )
    return blake2b("\n".join(parts).encode(), digest_size=8).hexdigest()
