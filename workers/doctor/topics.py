"""Kafka: whether it answers, and whether the topics and rights are what a worker needs."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.settings import KafkaSettings, SettingsError
from workers.doctor.finding import Finding, failure, ok, warning
from workers.kafka.topic_state import topic_states
from workers.stream.topic_checks import check_topics, forgetful, outputs_of


def examine_kafka(kafka: KafkaSettings) -> Iterator[Finding]:
    """Ask the brokers for the topics. Blocks for at most nine seconds.

    Args:
        kafka: the section of the settings.
    """
    servers = ", ".join(kafka.bootstrap_servers)
    names = [kafka.topics.manifests, *outputs_of(kafka.topics)]
    try:
        states = topic_states(kafka, names)
    except ConnectionError as error:
        if kafka == KafkaSettings():  # nobody said that there is one
            yield warning(
                "Kafka",
                f"no broker answers at {servers}, where one is looked for by default",
                next="only the stream needs it: set `kafka.bootstrap_servers`, or start "
                "`chorus broker`",
            )
            return
        yield failure(
            "Kafka",
            str(error),
            cause="the broker is down, the address is wrong, a firewall, or a listener with "
            "other security than `kafka.client` says",
            next="start the broker or correct `kafka.bootstrap_servers` and `kafka.client`",
        )
        return
    except SettingsError as error:
        yield failure("Kafka", str(error), next="correct `kafka.client`")
        return
    except Exception as error:  # a refusal of the broker
        yield failure(
            "Kafka",
            f"{servers}: {error}",
            cause="this user lacks a right, or the broker has trouble",
            next="give the right that is named; see docs/runbook.md",
        )
        return
    yield ok("Kafka", f"{servers} answers")
    try:
        check_topics(kafka.topics, states)
    except SettingsError as error:
        for line in str(error).splitlines():
            yield failure("topics", line.removeprefix("kafka.topics: "), next=_next(line))
        return
    there = {name: state for name, state in states.items() if state is not None}
    for said in forgetful(kafka.topics, there):
        yield warning("topics", said, next="set cleanup.policy to delete")
    parts = ", ".join(f"{name} ({state.partitions})" for name, state in there.items())
    yield ok("topics", f"{parts}: there, and this user has the rights")


def _next(fault: str) -> str:
    return "`chorus topics`" if "there is no topic" in fault else "change it as it says"
