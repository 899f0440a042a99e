"""What the tests of the stream worker share: settings, a stand-in Router, and the topics' view."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import soundfile
from kafka import TopicPartition

from schemas.failures import ErrorCode, RecordError
from schemas.manifest import ManifestRecord
from schemas.requests import DEFAULT_OPTIONS, Backlog, CallOptions
from schemas.settings import (
    AudioSettings,
    KafkaSettings,
    ModelSettings,
    Routing,
    Settings,
    StreamSettings,
    Topics,
)
from schemas.transcript import Timings, Transcript
from serve_app.audio.clip import Recording
from serve_app.router.protocol import Probe
from serve_app.router.results import Result
from tests.scenarios.stream_watch import committed_offsets
from tests.standin import text_of
from workers.kafka.clients import make_admin, make_consumer, make_producer
from workers.kafka.topics import ensure_topics
from workers.stream.pending_record import PendingRecord
from workers.stream.worker import StreamWorker

#: Settings under which the tests are quick; the logic does not depend on them.
QUICK: dict[str, Any] = {
    "batch_records": 8,
    "commit_interval_s": 0.2,
    "session_timeout_s": 6.0,
    "retry_initial_s": 0.02,
    "retry_max_s": 0.2,
    "call_timeout_s": 30.0,
    "drain_timeout_s": 10.0,
}


class StandInRouter:
    """A Router in this process that says "heard <id>".

    Attributes:
        down: while set, every call and probe fails.
        delay_s: how long a call takes.
        killers: ids that kill a replica: all records of every call under way get `death`.
        death: the code of that.
        blocked: ids whose records come back as retryable while they are in this set.
        poison: ids that are refused.
        calls: ids of each call, in order.
        told: what it was told that waits.
    """

    def __init__(self, delay_s: float = 0.0) -> None:
        self.down = threading.Event()
        self.delay_s = delay_s
        self.killers: set[str] = set()
        self.death = ErrorCode.MODEL_DIED
        self.blocked: set[str] = set()
        self.poison: set[str] = set()
        self.calls: list[list[str]] = []
        self.told: list[Backlog] = []
        self.probes = 0
        self._deaths = 0

    async def transcribe(
        self,
        records: Sequence[ManifestRecord],
        options: CallOptions = DEFAULT_OPTIONS,
        clips: Sequence[Recording] | None = None,
    ) -> list[Result]:
        if options.backlog is not None:
            assert not records
            self.told.append(options.backlog)
            return []
        return await self.answer(records)

    async def answer(self, records: Sequence[ManifestRecord]) -> list[Result]:
        """What `transcribe` returns; to be overridden by Routers with other habits."""
        ids = [record.id for record in records]
        self.calls.append(ids)
        deaths = self._deaths
        await asyncio.sleep(self.delay_s)
        if self.down.is_set():
            return [_error(id_, ErrorCode.MODEL_UNAVAILABLE) for id_ in ids]
        if self.killers & set(ids):
            self._deaths += 1
        if self._deaths > deaths:
            return [_error(id_, self.death) for id_ in ids]
        return [self._result(record) for record in records]

    async def probe(self, timeout_s: float = 5.0) -> Probe:
        self.probes += 1
        return Probe(router=not self.down.is_set())

    def _result(self, record: ManifestRecord) -> Result:
        if record.id in self.blocked:
            return _error(record.id, ErrorCode.AUDIO_IO)
        if record.id in self.poison:
            return _error(record.id, ErrorCode.AUDIO_MISSING)
        return transcript_of(record)


def _error(id_: str, code: ErrorCode) -> RecordError:
    return RecordError(id=id_, code=code, message=f"{code} in the stand-in", model="general")


def transcript_of(record: ManifestRecord, **fields: Any) -> Transcript:
    """What `StandInRouter` answers."""
    return Transcript(
        id=record.id,
        audio_filepath=record.audio_filepath,
        duration=2.0,
        domain=record.domain,
        text=record.text,
        pred_text=f"heard {record.id}",
        selected_model="general",
        model_path="stand-in",
        rule="default",
        timings=Timings(model_ms=20.0),
        extra=record.extra,
        **fields,
    )


def write_clip(path: Path) -> str:
    """Write half a second of random samples, by the file's name; what a stand-in engine hears."""
    rng = np.random.default_rng(list(path.name.encode()))
    soundfile.write(path, rng.uniform(-0.4, 0.4, 8_000), 16_000, subtype="PCM_16")
    samples, _ = soundfile.read(path, dtype="float32")
    return text_of(samples)


@dataclass
class Message:
    """As much of a Kafka record as the worker looks at."""

    value: bytes | None = b"{}"
    key: bytes | None = None
    headers: Iterable[tuple[str, bytes | None]] = ()
    topic: str = "in"
    partition: int = 0
    offset: int = 0
    timestamp: int = 0
    leader_epoch: int | None = None


def a_pending_record(
    id_: str = "a", *, topic: str = "in", partition: int = 0, offset: int = 0
) -> PendingRecord:
    """A decoded record without a broker."""
    record = ManifestRecord(id=id_, audio_filepath=f"{id_}.wav")
    message = Message(topic=topic, partition=partition, offset=offset)
    return PendingRecord(
        TopicPartition(topic, partition), offset, message, size=100, manifest=record
    )


def manifest_of(record: PendingRecord) -> ManifestRecord:
    """The manifest record of `record`, which could be decoded."""
    assert record.manifest is not None
    return record.manifest


def error_of(record: PendingRecord) -> RecordError:
    """What `record` was given up for."""
    assert isinstance(record.outcome, RecordError)
    return record.outcome


def manifest(id_: str, **keys: Any) -> bytes:
    """A good record's value."""
    return msgspec.json.encode({"id": id_, "audio_filepath": f"{id_}.wav", **keys})


def settings_of(bootstrap: str, name: str, **stream: Any) -> Settings:
    """Settings whose group and topics begin with `name`."""
    topics = Topics(
        manifests=f"{name}.manifests",
        transcripts=f"{name}.transcripts",
        metrics=f"{name}.metrics",
        dead_letters=f"{name}.dead-letters",
    )
    return Settings(
        models={"general": ModelSettings(pretrained="stand-in")},
        routing=Routing(default="general"),
        audio=AudioSettings(roots=["."]),
        kafka=KafkaSettings(bootstrap_servers=bootstrap.split(","), group=name, topics=topics),
        stream=StreamSettings(**{**QUICK, **stream}),
    )


def partitions_of(settings: Settings, manifests: int) -> dict[str, int]:
    """Number of partitions by topic, with so many of the manifest topic."""
    topics = settings.kafka.topics
    return {
        topics.manifests: manifests,
        topics.transcripts: 3,
        topics.metrics: 1,
        topics.dead_letters: 1,
    }


def settings_for(
    bootstrap: str, unique: Callable[[str], str], partitions: int = 3, **stream: Any
) -> Settings:
    """Settings with topics of their own, which exist afterwards."""
    settings = settings_of(bootstrap, unique("stream"), **stream)
    ensure_topics(bootstrap, partitions_of(settings, partitions))
    return settings


def produce(settings: Settings, values: Iterable[bytes | None], **options: Any) -> None:
    """Send values to the manifest topic, spread over its partitions."""
    producer = make_producer(settings.kafka, linger_ms=20)
    topic = settings.kafka.topics.manifests
    partitions = sorted(producer.partitions_for(topic))
    futures = [
        producer.send(
            topic,
            key=options.get("key", b"k" if value is None else None),
            value=value,
            headers=options.get("headers"),
            partition=options.get("partition", partitions[number % len(partitions)]),
        )
        for number, value in enumerate(values)
    ]
    producer.flush()
    for future in futures:
        future.get(timeout=10)
    producer.close()


class TopicReader:
    """All committed messages of a topic so far."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self._consumer = make_consumer(settings.kafka, group_id=None, fetch_max_wait_ms=50)
        partitions = self._consumer.partitions_for_topic(topic)
        self._consumer.assign([TopicPartition(topic, number) for number in sorted(partitions)])
        self.messages: list[Any] = []

    def refresh(self) -> list[Any]:
        for batch in self._consumer.poll(timeout_ms=100, max_records=10_000).values():
            self.messages += batch
        return self.messages

    def close(self) -> None:
        self._consumer.close()


@contextmanager
def reading(settings: Settings, topic: str) -> Iterator[TopicReader]:
    reader = TopicReader(settings, topic)
    try:
        yield reader
    finally:
        reader.close()


def read_all(settings: Settings, topic: str) -> list[Any]:
    """Every committed message of `topic`, up to its last stable offset."""
    with reading(settings, topic) as reader:
        consumer = reader._consumer
        ends = consumer.end_offsets(list(consumer.assignment()))
        while any(consumer.position(tp) < end for tp, end in ends.items()):
            reader.refresh()
        return reader.messages


def transcript_ids(settings: Settings) -> Counter[str]:
    """How often each id is in the transcripts."""
    messages = read_all(settings, settings.kafka.topics.transcripts)
    return Counter(message.key.decode() for message in messages)


def dead_letters(settings: Settings) -> list[Any]:
    return read_all(settings, settings.kafka.topics.dead_letters)


def committed(settings: Settings) -> dict[int, int]:
    """Committed offset per partition of the manifest topic."""
    with make_admin(settings.kafka) as admin:
        found = committed_offsets(admin, settings.kafka.group)
    return {tp.partition: offset for tp, offset in found.items()}


def end_offsets(settings: Settings) -> dict[int, int]:
    with reading(settings, settings.kafka.topics.manifests) as reader:
        consumer = reader._consumer
        ends = consumer.end_offsets(list(consumer.assignment()))
    return {tp.partition: end for tp, end in ends.items()}


def wait_until(condition: Callable[[], bool], timeout_s: float = 60.0, what: str = "") -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"timed out waiting for {what or condition}"
        time.sleep(0.01)


@contextmanager
def running_worker(worker: StreamWorker) -> Iterator[StreamWorker]:
    """`worker` in a thread; stopped at the end, which must go well."""
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(worker.run()), daemon=True)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join(timeout=60)
    assert codes == [0], "the worker did not stop cleanly"


def running(
    settings: Settings, backend: Any, instance: str = "0"
) -> AbstractContextManager[StreamWorker]:
    """A worker of the brokers in the settings, as `running_worker`."""
    return running_worker(StreamWorker(settings, backend, instance))


def done(worker: StreamWorker) -> int:
    """Records that `worker` has committed."""
    stats = worker.stats()
    return stats.transcribed + stats.dead_lettered


def quality_jobs() -> list[psutil.Process]:
    """The processes of `stream.quality` that workers of this process, or of its Ray, keep."""
    return [each for each in psutil.Process().children(recursive=True) if _judges(each)]


def _judges(process: psutil.Process) -> bool:
    try:
        return "workers.quality.process" in process.cmdline()
    except psutil.Error:  # it has ended
        return False
