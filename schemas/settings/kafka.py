"""The section `kafka`: where Kafka is and how to talk to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from schemas.settings.types import Fault, Strict

#: A host name, IPv4 address, or IPv6 address in brackets, and a port.
_SERVER = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:/\[\]]+):([0-9]{1,5})")


class FromEnvironment(Strict):
    """A secret: the value of an environment variable, read when the client is made.

    Attributes:
        env: name of the environment variable.
    """

    env: str


class Topics(Strict):
    """Names of the topics.

    Attributes:
        manifests: manifest records, read by the stream workers.
        transcripts: transcripts.
        metrics: metrics events.
        dead_letters: records that were given up.
    """

    manifests: str = "asr.manifests"
    transcripts: str = "asr.transcripts"
    metrics: str = "asr.metrics"
    dead_letters: str = "asr.dead-letters"


class KafkaSettings(Strict):
    """Where Kafka is and how to talk to it.

    Attributes:
        bootstrap_servers: brokers to connect to first, each as `host:port`.
        group: consumer group of the stream workers.
        topics: names of the topics.
        transcript_key: key of a transcript: "record" for that of its record, so that records of one
            key stay together and in order, or the record's id where it has no key; "id" for the id
            of every one.
        client: any further option of kafka-python's clients, TLS and SASL among them, by its
            own name: `security_protocol`, `ssl_cafile`, `sasl_mechanism`, `sasl_plain_password:
            {env: KAFKA_PASSWORD}`.
    """

    bootstrap_servers: Annotated[list[str], msgspec.Meta(min_length=1)] = msgspec.field(
        default_factory=lambda: ["127.0.0.1:9092"]
    )
    group: str = "chorus"
    topics: Topics = msgspec.field(default_factory=Topics)
    transcript_key: Literal["record", "id"] = "record"
    client: dict[str, str | int | float | bool | FromEnvironment] = {}


def kafka_faults(kafka: KafkaSettings) -> Iterator[Fault]:
    """What is wrong in the section, as far as it can be seen without a Kafka client."""
    for server in kafka.bootstrap_servers:
        found = _SERVER.fullmatch(server)
        if found is None or not 0 < int(found[2]) < 65_536:
            yield "kafka.bootstrap_servers", f"{server!r} is not `host:port`"
    topics = [getattr(kafka.topics, name) for name in kafka.topics.__struct_fields__]
    for topic in sorted({topic for topic in topics if topics.count(topic) > 1}):
        yield "kafka.topics", f"`{topic}` is given twice; each kind of message has its own topic"
