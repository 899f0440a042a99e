"""The settings of a broker that shares one machine with its clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workers.kafka.ports import HOST


@dataclass(frozen=True)
class Node:
    """One broker of a cluster, which is a controller too.

    Attributes:
        number: Kafka's node id, from 1.
        port: where clients connect.
        controller_port: where the controllers talk to each other.
    """

    number: int
    port: int
    controller_port: int


def server_properties(
    node: Node, nodes: Sequence[Node], data: Path, overrides: Mapping[str, str]
) -> str:
    """The text of Kafka's `server.properties` for `node`, one of `nodes`.

    Everything listens on loopback only. Replication is as much as the cluster has, at most 3, with
    one replica allowed to be missing where there are three. Topics are created on request only:
    a mistyped name is an error, not a new topic.

    See https://kafka.apache.org/documentation/#brokerconfigs for each key.
    """
    replicas = min(3, len(nodes))
    in_sync = 2 if replicas == 3 else 1
    voters = ",".join(f"{each.number}@{HOST}:{each.controller_port}" for each in nodes)
    settings = {
        "process.roles": "broker,controller",
        "node.id": node.number,
        "controller.quorum.voters": voters,
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{HOST}:{node.port},CONTROLLER://{HOST}:{node.controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{node.port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": data,
        "auto.create.topics.enable": "false",
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": replicas,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
        # consumers start at once, and may notice a dead one of them sooner than in 6 s
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1000,
        # a transaction that ran out of time ends within 1 s of it, not 10 s
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
        # a broker that was killed is missed after 3 s, not 9 s, and may register again
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 500,
        # few threads and small buffers: the models need the machine
        "num.network.threads": 2,
        "num.io.threads": 4,
        "background.threads": 2,
        "log.cleaner.dedupe.buffer.size": 16 << 20,
        **overrides,
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


#: What the broker writes to its log file, in log4j's format.
LOG4J_PROPERTIES = """\
rootLogger.level = info
# the hundreds of lines that list every setting at each start
logger.settings.name = org.apache.kafka.common.config.AbstractConfig
logger.settings.level = warn
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %m (%c{1})%n%throwable
"""
