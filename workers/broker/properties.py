"""Settings of brokers that share one machine with their clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workers.broker.ports import HOST


@dataclass(frozen=True)
class Node:
    """One broker of a cluster, which is also a controller.

    Attributes:
        number: Kafka's node id, from 1.
        port: port for clients.
        controller_port: port for the other controllers.
    """

    number: int
    port: int
    controller_port: int


def server_properties(
    node: Node, nodes: Sequence[Node], data: Path, overrides: Mapping[str, str]
) -> str:
    """The content of Kafka's `server.properties` for one broker.

    All ports are on loopback only. Topics have as many replicas as there are brokers, at most 3; of
    three, one may be missing. Topics are not created automatically: a mistyped name is an error,
    not a new topic.

    See https://kafka.apache.org/documentation/#brokerconfigs for each key.

    Args:
        node: the broker.
        nodes: all brokers of the cluster.
        data: the broker's data folder.
        overrides: settings by Kafka's names, which override the ones here.
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
        # consumers start at once, and may notice a dead member sooner than in 6 s
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1000,
        # a transaction that timed out is aborted within 1 s, not 10 s
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
        # a broker that was killed is missed after 3 s, not 9 s, and may register again
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 500,
        # the controller writes a record that says nothing every 5 s, not twice a second: that took
        # a third of an idle broker's CPU time
        "metadata.max.idle.interval.ms": 5000,
        # few threads and small buffers: the models need the machine
        "num.network.threads": 2,
        "num.io.threads": 4,
        "background.threads": 2,
        "log.cleaner.dedupe.buffer.size": 16 << 20,
        **overrides,
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


#: Configuration of the broker's log, for log4j.
LOG4J_PROPERTIES = """\
rootLogger.level = info
# without the hundreds of lines that list every setting at each start
logger.settings.name = org.apache.kafka.common.config.AbstractConfig
logger.settings.level = warn
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %m (%c{1})%n%throwable
"""
