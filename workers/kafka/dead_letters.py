"""The dead-letter topic: its letters with what became of them, replaying and dropping them.

Replaying sends the original records to their topics, and a mark behind each letter, in one
transaction; dropping sends the mark alone. So a letter is replayed once, however often the command
is interrupted and repeated. All such commands of a group have one transactional id: the one that
begins later fences the other, before it reads the marks.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from kafka.errors import InvalidProducerEpochError, ProducerFencedError

from schemas.dead_letter import (
    DeadLetter,
    LetterMark,
    from_headers,
    mark_from,
    mark_headers,
    original_headers,
)
from schemas.settings import KafkaSettings
from workers.kafka.clients import make_producer
from workers.kafka.errors import error_in
from workers.kafka.protocols import Record
from workers.kafka.reader import partitions_of, read_topic

#: Of the commands' transactional id, behind the group.
ID_SUFFIX = ".replay"
#: Letters in one transaction.
_IN_ONE_TRANSACTION = 500
_FENCED = (ProducerFencedError, InvalidProducerEpochError)


class OtherCommandError(Exception):
    """Another command replays or drops letters of this group; the message says what was done."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter.

    Attributes:
        message: as it is in the topic.
        view: what its headers say.
        mark: what became of it; None: nothing yet.
    """

    message: Record
    view: DeadLetter
    mark: LetterMark | None

    @property
    def names(self) -> set[str]:
        """What a person may call it: the record's id, or where it came from."""
        return {self.view.id, self.view.source}


class DeadLetters:
    """Reads the dead-letter topic of `kafka`.

    Attributes:
        foreign: messages that are no dead letters, in the last reading.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self.foreign = 0
        self._kafka = kafka

    def __iter__(self) -> Iterator[Letter]:
        """All letters, from the oldest on within each partition.

        Raises:
            UnknownTopicError: there is no such topic.
            SchemaVersionError: a letter is from a newer version of Chorus.
        """
        self.foreign = 0
        marks = {
            (message.partition, mark.letter): mark
            for message in self._messages()
            if (mark := mark_from(message.headers))
        }
        for message in self._messages():
            try:
                view = from_headers(message.headers)
            except msgspec.ValidationError:
                self.foreign += mark_from(message.headers) is None
                continue
            yield Letter(message, view, marks.get((message.partition, message.offset)))

    def _messages(self) -> Iterator[Record]:
        for message in read_topic(self._kafka, self._kafka.topics.dead_letters):
            if message is not None:  # only a follower sees None
                yield message


@dataclass(slots=True)
class Settled:
    """What `replay` or `drop` has done.

    Attributes:
        done: letters that were replayed or dropped.
        before: letters that were asked for by name and had been replayed or dropped before.
        without_value: letters that cannot be replayed, since they do not hold their record.
        foreign: messages in the topic that are no letters.
        missing: names that no letter has.
    """

    done: int = 0
    before: int = 0
    without_value: int = 0
    foreign: int = 0
    missing: set[str] = field(default_factory=set)


def replay(
    kafka: KafkaSettings, names: set[str] | None, code: str | None = None, *, again: bool = False
) -> Settled:
    """Produce the records of dead letters to their own topics again: key, value and headers.

    Args:
        kafka: the settings' section.
        names: record ids or ``topic-partition-offset`` of those to replay; None for all.
        code: only letters with this error code.
        again: also those that were replayed or dropped before.

    Raises:
        OtherCommandError: another command has begun meanwhile.
        UnknownTopicError: a topic that letters came from does not exist.
    """
    return _settle(kafka, names, code, "replayed", again)


def drop(kafka: KafkaSettings, names: set[str] | None, code: str | None = None) -> Settled:
    """Mark dead letters as done with; they are not listed or replayed any more. See `replay`."""
    return _settle(kafka, names, code, "dropped", False)


def _settle(
    kafka: KafkaSettings,
    names: set[str] | None,
    code: str | None,
    mark: Literal["replayed", "dropped"],
    again: bool,
) -> Settled:
    producer: Any = make_producer(kafka, transactional_id=kafka.group + ID_SUFFIX)
    settled = Settled(missing=set(names or ()))
    try:
        producer.init_transactions()
        letters = DeadLetters(kafka)
        chosen = _chosen(letters, names, code, mark, again, settled)
        known: set[str] = set()
        while batch := list(itertools.islice(chosen, _IN_ONE_TRANSACTION)):
            for topic in {letter.view.topic for letter in batch} - known:
                partitions_of(kafka, topic)  # a producer would wait for it
                known.add(topic)
            producer.begin_transaction()
            _send(producer, batch, mark)
            producer.commit_transaction()
            settled.done += len(batch)
        settled.foreign = letters.foreign
    except Exception as error:
        if error_in(error, _FENCED) is None:
            raise
        raise OtherCommandError(
            f"another `chorus dead-letters` command has begun to replay or drop; this one has "
            f"stopped after {settled.done} letters, which are marked. Run one at a time"
        ) from error
    finally:
        producer.close(timeout=5)
    return settled


def _chosen(
    letters: Iterable[Letter],
    names: set[str] | None,
    code: str | None,
    mark: Literal["replayed", "dropped"],
    again: bool,
    settled: Settled,
) -> Iterator[Letter]:
    """The letters to be settled; counts the others."""
    for letter in letters:
        if names is not None:
            if not names & letter.names:
                continue
            settled.missing -= letter.names
        if code is not None and letter.view.code != code:
            continue
        if letter.mark is not None and not again:
            settled.before += names is not None
        elif mark == "replayed" and letter.view.value_omitted is not None:
            settled.without_value += 1
        else:
            yield letter


def _send(producer: Any, letters: Iterable[Letter], mark: Literal["replayed", "dropped"]) -> None:
    sent = []
    for letter in letters:
        message, view = letter.message, letter.view
        if mark == "replayed":
            key, value = None if view.keyless else message.key, message.value
            if key is None and value is None:
                key = message.key  # a client sends no message with neither
            headers = [(name, held or b"") for name, held in original_headers(message.headers)]
            sent.append(producer.send(view.topic, key=key, value=value, headers=headers))
        done = LetterMark(mark=mark, letter=message.offset, timestamp=time.time())
        sent.append(
            producer.send(
                message.topic,
                key=f"mark of {view.source}".encode(),
                headers=mark_headers(done),
                partition=message.partition,
            )
        )
    producer.flush()
    for future in sent:
        future.get()
