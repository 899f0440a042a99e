"""What a `read_committed` reader finds in the topics after a run: is each record there once?"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection
from typing import Any

import msgspec
from kafka import TopicPartition

from schemas.dead_letter import from_headers
from schemas.manifest import decode_manifest
from schemas.metrics import MetricsEvent
from schemas.settings import KafkaSettings, Settings
from workers.kafka.clients import make_consumer
from workers.kafka.reader import read_topic

#: A committed transaction's last markers are written a moment after the commit is acknowledged.
_MARKERS_S = 10.0


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """The findings.

    Attributes:
        records: distinct ids that were produced.
        lost: ids of them in no transcript and no dead letter.
        duplicated: ids that are there more than once.
        unknown: ids that nobody produced.
        dead_lettered: dead letters.
        produced_twice: ids that are in the manifest topic more than once, or not at all: the
            producer's fault, not the worker's.
        transcripts: messages in the transcript topic.
        without_a_member: transcripts that say that a model gave no answer.
        counted: transcripts that the metrics events say there are.
        uncommitted: records between the group's offsets and the ends of the partitions.
        open_transactions: partitions of the outputs with an undecided transaction.
    """

    records: int
    lost: list[str]
    duplicated: list[str]
    unknown: list[str]
    dead_lettered: list[str]
    produced_twice: list[str]
    transcripts: int
    without_a_member: int
    counted: int
    uncommitted: int
    open_transactions: list[str]

    def figures(self) -> dict[str, int]:
        """How many records there were, and how many met an end that they should not have."""
        return {
            "records": self.records,
            "lost": len(self.lost),
            "duplicated": len(self.duplicated),
            "dead_lettered": len(self.dead_lettered),
        }

    def faults(self) -> list[str]:
        """What is wrong, a line each; empty where every record was transcribed exactly once."""
        found = [
            f"{name}: {len(ids)} ({', '.join(ids[:5])}{' ...' if len(ids) > 5 else ''})"
            for name in ("lost", "duplicated", "unknown", "dead_lettered", "produced_twice")
            if (ids := getattr(self, name))
        ]
        if self.uncommitted:
            found.append(f"uncommitted: {self.uncommitted} records lie behind the offsets")
        if self.open_transactions:
            found.append(f"open transactions on {', '.join(self.open_transactions)}")
        if self.counted != self.transcripts:
            found.append(f"metrics count {self.counted} transcripts, not {self.transcripts}")
        return found


def audit(settings: Settings, ids: Collection[str]) -> Audit:
    """Read all topics of `settings`; `ids` were produced. Call it when the workers have ended."""
    kafka = settings.kafka
    topics = kafka.topics
    open_transactions = _open_transactions(
        kafka, [topics.transcripts, topics.metrics, topics.dead_letters]
    )
    messages = _messages(kafka, topics.transcripts)
    transcripts = [_text(message.key) for message in messages]
    letters = [
        from_headers(message.headers).id for message in _messages(kafka, topics.dead_letters)
    ]
    events = _messages(kafka, topics.metrics)
    seen = Counter(transcripts + letters)
    produced = Counter(
        decode_manifest(message.value or b"", default_id="").id
        for message in _messages(kafka, topics.manifests)
    )
    expected = set(ids)
    return Audit(
        records=len(expected),
        lost=sorted(expected - seen.keys()),
        duplicated=sorted(id_ for id_, times in seen.items() if times > 1),
        unknown=sorted(seen.keys() - expected),
        dead_lettered=sorted(letters),
        produced_twice=sorted(id_ for id_ in expected if produced[id_] != 1),
        transcripts=len(transcripts),
        without_a_member=sum(b'"failed_models"' in (message.value or b"") for message in messages),
        counted=sum(
            msgspec.json.decode(event.value or b"", type=MetricsEvent).records for event in events
        ),
        uncommitted=uncommitted(kafka),
        open_transactions=open_transactions,
    )


def uncommitted(kafka: KafkaSettings) -> int:
    """Records of the manifest topic that the group has not committed yet."""
    consumer = make_consumer(kafka, group_id=kafka.group)  # it assigns nothing, so it joins nothing
    try:
        partitions = _partitions(consumer, kafka.topics.manifests)
        ends = consumer.end_offsets(partitions)
        begins = consumer.beginning_offsets(partitions)
        return sum(
            ends[at] - (begins[at] if (done := consumer.committed(at)) is None else done)
            for at in partitions
        )
    finally:
        consumer.close()


def _open_transactions(kafka: KafkaSettings, topics: list[str]) -> list[str]:
    """Partitions whose last stable offset stays below the high watermark."""
    deadline = time.monotonic() + _MARKERS_S
    while True:
        stable, written = (_ends(kafka, topics, level) for level in ("committed", "uncommitted"))
        behind = [at for at, end in written.items() if stable[at] < end]
        if not behind or time.monotonic() > deadline:
            return [f"{at.topic}-{at.partition}" for at in behind]
        time.sleep(0.2)


def _ends(kafka: KafkaSettings, topics: list[str], level: str) -> dict[TopicPartition, int]:
    consumer = make_consumer(kafka, group_id=None, isolation_level=f"read_{level}")
    try:
        partitions = [at for topic in topics for at in _partitions(consumer, topic)]
        ends: dict[TopicPartition, int] = consumer.end_offsets(partitions)
        return ends
    finally:
        consumer.close()


def _partitions(consumer: Any, topic: str) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]


def _messages(kafka: KafkaSettings, topic: str) -> list[Any]:
    return [message for message in read_topic(kafka, topic) if message is not None]


def _text(key: bytes | None) -> str:
    return (key or b"").decode(errors="replace")
