"""Whether the topics are such that the worker can do what it promises, before it reads a record."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping

from kafka.errors import UnknownTopicOrPartitionError

from schemas.settings import SettingsError, Topics
from workers.kafka.topic_state import TopicState

log = logging.getLogger(__name__)

#: The largest dead letter without its value (path and id at their limits), and any metrics event,
#: have room in this.
MIN_MESSAGE_BYTES = 32 * 1024


class MissingTopicError(UnknownTopicOrPartitionError):
    """An output topic does not exist (any more); it may be created again."""

    def __str__(self) -> str:
        return str(self.args[0])  # without the name of the class


def outputs_of(topics: Topics) -> tuple[str, ...]:
    """The topics that a worker writes to."""
    return (topics.transcripts, topics.metrics, topics.dead_letters)


def check_topics(topics: Topics, states: Mapping[str, TopicState | None]) -> None:
    """Refuse topics with which no record could be read or committed; warn of those that forget.

    Args:
        topics: their names.
        states: the state of every one of them, by name; None for one that does not exist.

    Raises:
        SettingsError: there is no such topic, or it is of no use; the message says what to do.
    """
    missing = [name for name, state in states.items() if state is None]
    if missing:
        raise SettingsError(
            f"kafka.topics: there is no topic {', '.join(missing)}; `chorus topics` creates it"
        )
    there = {name: state for name, state in states.items() if state is not None}
    faults = list(_read_faults(topics.manifests, there[topics.manifests]))
    faults += _write_faults(there, topics)
    if faults:
        raise SettingsError("\n".join(f"kafka.topics: {fault}" for fault in faults))
    for warning in forgetful(topics, there):
        log.warning("%s", warning)


def check_outputs(topics: Topics, states: Mapping[str, TopicState | None]) -> None:
    """`check_topics` for the outputs alone, while the worker runs.

    Raises:
        SettingsError: one of them is of no use.
        MissingTopicError: one of them is gone; the message names it.
    """
    missing = [name for name in outputs_of(topics) if states[name] is None]
    if missing:
        raise MissingTopicError(
            f"there is no topic {', '.join(missing)} any more; the worker pauses until "
            "`chorus topics` has created it"
        )
    faults = list(_write_faults({k: v for k, v in states.items() if v is not None}, topics))
    if faults:
        raise SettingsError("\n".join(f"kafka.topics: {fault}" for fault in faults))


def _read_faults(name: str, state: TopicState) -> Iterator[str]:
    if state.rights is not None and "READ" not in state.rights:
        yield f"this user may not read {name}; give it the right READ"


def _write_faults(states: Mapping[str, TopicState], topics: Topics) -> Iterator[str]:
    for name in outputs_of(topics):
        state = states[name]
        if state.rights is not None and "WRITE" not in state.rights:
            yield f"this user may not write to {name}; give it the right WRITE"
        largest = state.max_message_bytes
        if largest is not None and largest < MIN_MESSAGE_BYTES:
            yield (
                f"a message of topic {name} holds {largest} bytes, and the worker needs "
                f"{MIN_MESSAGE_BYTES}; raise the topic's max.message.bytes"
            )
        if state.min_in_sync is not None and state.min_in_sync > state.replicas:
            yield (
                f"{name} has {state.replicas} replicas and its min.insync.replicas is "
                f"{state.min_in_sync}, so that nothing can be written to it; lower that, or add "
                "replicas"
            )


def forgetful(topics: Topics, states: Mapping[str, TopicState]) -> Iterable[str]:
    """Warnings about compacted topics, which keep the last message of each key alone.

    Args:
        topics: their names.
        states: the state of every one of them, by name.
    """
    lost = {
        topics.manifests: "records whose key comes again before they are read are lost",
        topics.transcripts: "of several transcripts with one key the last remains",
        topics.metrics: "sums over its events are too small",
        topics.dead_letters: "of several dead letters whose records had one key the last remains",
    }
    for name, what in lost.items():
        if states[name].compacted:
            yield f"topic {name} is compacted (cleanup.policy): {what}; `delete` keeps all of them"
