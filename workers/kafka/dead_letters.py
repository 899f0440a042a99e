"""The dead-letter topic: its letters with what became of them, replaying and dropping them.

Replaying sends the original records to their topics, and a mark behind each letter, in one
transaction; dropping sends the mark alone. So a letter is replayed once, however often the command
is interrupted and repeated. All such commands of a group have one transactional id: the one that
begins later fences the other, before it reads the marks.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

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
from schemas.versions import SchemaVersionError
from workers.kafka.clients import make_producer
from workers.kafka.errors import error_in
from workers.kafka.letter_choice import Choice, Letter
from workers.kafka.protocols import Record
from workers.kafka.reader import partitions_of, read_topic

#: Of the commands' transactional id, behind the group.
ID_SUFFIX = ".replay"
#: Letters in one transaction.
_IN_ONE_TRANSACTION = 500
_FENCED = (ProducerFencedError, InvalidProducerEpochError)
T = TypeVar("T")


class OtherCommandError(Exception):
    """Another command replays or drops letters of this group; the message says what was done."""


class DeadLetters:
    """Reads the dead-letter topic of `kafka`.

    Args:
        kafka: the settings' section.
        skip_newer: go on where a message is from a newer version of Chorus. Who settles letters
            must not: that message may be the mark of one.

    Attributes:
        foreign: messages that are no dead letters, in the last reading.
        newer: messages that were skipped, in the last reading.
    """

    def __init__(self, kafka: KafkaSettings, *, skip_newer: bool = False) -> None:
        self.foreign = 0
        self.newer = 0
        self._kafka = kafka
        self._skip_newer = skip_newer

    def __iter__(self) -> Iterator[Letter]:
        """All letters, from the oldest on within each partition.

        Raises:
            UnknownTopicError: there is no such topic.
            SchemaVersionError: a message is from a newer version of Chorus, and none is skipped.
        """
        self.foreign = self.newer = 0
        marks = {
            (message.partition, mark.letter): mark
            for message, mark in self._read(mark_from)
            if mark is not None
        }
        self.newer = 0  # the same messages come once more
        for message, view in self._read(_letter_from):
            if view is None:
                self.foreign += mark_from(message.headers) is None
            else:
                yield Letter(message, view, marks.get((message.partition, message.offset)))

    def _read(
        self, reader: Callable[[Iterable[tuple[str, bytes | None]]], T]
    ) -> Iterator[tuple[Record, T]]:
        """Each message with what its headers say."""
        for message in self._messages():
            try:
                found = reader(message.headers)
            except SchemaVersionError:
                if not self._skip_newer:
                    raise
                self.newer += 1
            else:
                yield message, found

    def _messages(self) -> Iterator[Record]:
        for message in read_topic(self._kafka, self._kafka.topics.dead_letters):
            if message is not None:  # only a follower sees None
                yield message


def _letter_from(headers: Iterable[tuple[str, bytes | None]]) -> DeadLetter | None:
    try:
        return from_headers(headers)
    except msgspec.ValidationError:
        return None


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


def replay(kafka: KafkaSettings, choice: Choice, *, again: bool = False, by: str = "") -> Settled:
    """Produce the records of dead letters to their own topics again: key, value and headers.

    Args:
        kafka: the settings' section.
        choice: those to replay.
        again: also those that were replayed or dropped before.
        by: who does it, for the marks.

    Raises:
        OtherCommandError: another command has begun meanwhile.
        UnknownTopicError: a topic that letters came from does not exist.
    """
    return _settle(kafka, choice, _Act("replayed", by, again=again))


def replay_edited(
    kafka: KafkaSettings, partition: int, offset: int, value: bytes, *, by: str = ""
) -> Settled:
    """Replay one dead letter with another value, also one that does not hold its own. See `replay`.

    Args:
        kafka: the settings' section.
        partition: of the letter, in the topic of dead letters.
        offset: of the letter there.
        value: that is sent in place of the record's.
        by: who does it, for the mark.
    """
    choice = Choice(places=frozenset({(partition, offset)}))
    return _settle(kafka, choice, _Act("replayed", by, value=value))


def drop(kafka: KafkaSettings, choice: Choice, *, by: str = "") -> Settled:
    """Mark dead letters as done with; they are not listed or replayed any more. See `replay`."""
    return _settle(kafka, choice, _Act("dropped", by))


@dataclass(frozen=True, slots=True)
class _Act:
    """What is done to letters; `value` is sent in place of theirs."""

    mark: Literal["replayed", "dropped"]
    by: str
    again: bool = False
    value: bytes | None = None

    def is_possible(self, letter: Letter) -> bool:
        held = letter.view.value_omitted is None
        return held or self.mark == "dropped" or self.value is not None


def _settle(kafka: KafkaSettings, choice: Choice, act: _Act) -> Settled:
    producer: Any = make_producer(kafka, transactional_id=kafka.group + ID_SUFFIX)
    settled = Settled(missing=set(choice.names or ()))
    try:
        producer.init_transactions()
        letters = DeadLetters(kafka)
        chosen = _chosen(letters, choice, act, settled)
        known: set[str] = set()
        while batch := list(itertools.islice(chosen, _IN_ONE_TRANSACTION)):
            for topic in {letter.view.topic for letter in batch} - known:
                partitions_of(kafka, topic)  # a producer would wait for it
                known.add(topic)
            producer.begin_transaction()
            _send(producer, batch, act)
            producer.commit_transaction()
            settled.done += len(batch)
        settled.foreign = letters.foreign
    except Exception as error:
        if error_in(error, _FENCED) is None:
            raise
        raise OtherCommandError(
            "somebody else has begun to replay or drop dead letters of this group; this has "
            f"stopped after {settled.done} letters, which are marked. Do one at a time"
        ) from error
    finally:
        producer.close(timeout=5)
    return settled


def _chosen(
    letters: Iterable[Letter], choice: Choice, act: _Act, settled: Settled
) -> Iterator[Letter]:
    """The letters to be settled; counts the others."""
    for letter in letters:
        if choice.names is not None:
            settled.missing -= letter.names
        if not choice.holds(letter):
            continue
        if letter.mark is not None and not act.again:
            settled.before += choice.is_of_single_ones
        elif not act.is_possible(letter):
            settled.without_value += 1
        else:
            yield letter


def _send(producer: Any, letters: Iterable[Letter], act: _Act) -> None:
    sent = []
    for letter in letters:
        message, view = letter.message, letter.view
        if act.mark == "replayed":
            key = None if view.keyless else message.key
            value = message.value if act.value is None else act.value
            if key is None and value is None:
                key = message.key  # a client sends no message with neither
            headers = [(name, held or b"") for name, held in original_headers(message.headers)]
            sent.append(producer.send(view.topic, key=key, value=value, headers=headers))
        done = LetterMark(
            mark=act.mark,
            letter=message.offset,
            timestamp=time.time(),
            by=act.by,
            edited=act.value is not None,
        )
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
