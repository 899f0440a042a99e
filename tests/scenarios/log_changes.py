"""Logs that change behind the committed offsets, on real brokers.

Records deleted before they were read, a topic deleted and created again, and an unclean leader
election, after which other records have the offsets of those that were read. A worker that is to
stop must say so and stop; a person then moves it with `chorus offsets set`, as its message says. A
worker that may resume must count what was lost. In no case is a record transcribed twice, or left
out without a word.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

from kafka import TopicPartition
from kafka.errors import KafkaError

from schemas.settings import Settings
from tests.workers.stream.clusters import Bench, BrokerCluster
from tests.workers.stream.support import StandInRouter, done, partitions_of, settings_of, wait_until
from workers import exit_codes
from workers.broker.cluster import Cluster
from workers.kafka.clients import make_admin
from workers.kafka.group_offsets import set_group_offsets
from workers.kafka.topics import ensure_topics

OnChange = Literal["stop", "resume"]

#: With these a broker that has missed records may lead, and lets others have their offsets.
UNCLEAN = {"unclean.leader.election.enable": "true", "min.insync.replicas": "1"}
FIRST, SECOND = 0, 1  # the brokers that have the topic; the third keeps the cluster going


class Found(NamedTuple):
    """What became of the records of one case.

    Attributes:
        duplicated: records that were transcribed more than once.
        lost_silently: records that were deleted unread, without being counted or named.
        skipped_silently: records in the log that nobody has transcribed.
    """

    duplicated: int
    lost_silently: int
    skipped_silently: int


class LogCase:
    """A topic with one partition, what was produced, and the workers that ran on it."""

    def __init__(self, cluster: BrokerCluster, on_change: OnChange) -> None:
        self.bench = Bench(cluster)
        self.settings: Settings = self.bench.settings(partitions=1, on_log_change=on_change)
        self.said: list[str] = []
        self.lost_counted = 0
        self._numbers = itertools.count()

    def send(self, count: int) -> list[str]:
        names = [f"r{next(self._numbers)}" for _ in range(count)]
        self.bench.send(self.settings, names)
        return names

    def work(self, until: Callable[[int], bool]) -> int:
        """Run a worker until `until(records done)` or until it ends by itself; its exit code."""
        worker = self.bench.worker(self.settings, StandInRouter())
        with _errors() as said, self.bench.ending(worker) as codes:
            wait_until(lambda: bool(codes) or until(done(worker)), timeout_s=120)
            if not codes:
                wait_until(
                    lambda: bool(codes) or self.bench.all_committed(self.settings), timeout_s=60
                )
            worker.stop()
        self.said += said
        self.lost_counted += worker.stats().lost
        return codes[0]

    def move(self, offset: int) -> None:
        set_group_offsets(self.settings.kafka, {0: offset}, timeout_s=30.0)

    def found(self, readable: list[str], deleted: int) -> Found:
        """What became of `readable` records, and of `deleted` ones that nobody had read."""
        transcribed = self.bench.transcript_ids(self.settings)
        named = sum(f"{deleted} of its offsets were deleted" in line for line in self.said)
        counted = max(self.lost_counted, deleted if named else 0)
        return Found(
            duplicated=sum(number > 1 for number in transcribed.values()),
            lost_silently=max(0, deleted - counted),
            skipped_silently=len(set(readable) - set(transcribed)),
        )


@contextmanager
def _errors() -> Iterator[list[str]]:
    """What the worker says meanwhile, from warnings on."""
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("workers.stream")
    logger.addHandler(handler)
    try:
        yield said
    finally:
        logger.removeHandler(handler)


def deleted_unread(case: LogCase) -> Found:
    """Retention overtakes a stopped worker."""
    names = case.send(40)
    case.work(lambda number: number >= 40)
    case.send(60)
    names += case.send(30)
    case.bench.cluster.trim(case.settings, 0, 100)
    code = case.work(lambda number: number >= 30)
    if code == exit_codes.LOG_CHANGED:
        case.move(100)
        case.work(lambda number: number >= 30)
    return case.found(names, deleted=60)


def created_again_while_stopped(case: LogCase) -> Found:
    """The broker forgets a topic's offsets with it, so that the new one is read from its start."""
    names = case.send(40)
    case.work(lambda number: number >= 40)
    case.bench.cluster.recreate(case.settings)
    names += case.send(30)
    case.work(lambda number: number >= 30)
    return case.found(names, deleted=0)


def created_again_while_running(case: LogCase) -> Found:
    """The worker still holds the offsets of the earlier topic."""
    names = case.send(40)
    changed = False

    def until(number: int) -> bool:
        nonlocal changed
        if number >= 40 and not changed:
            changed = True
            case.bench.cluster.recreate(case.settings)
            names.extend(case.send(30))
        return number >= 70

    if case.work(until) == exit_codes.LOG_CHANGED:
        case.move(0)
        case.work(lambda number: number >= 30)
    return case.found(names, deleted=0)


def cut_off(case: LogCase, kafka: Cluster) -> Found:
    """A leader is elected that has not all records, and takes others under their offsets."""
    tp = TopicPartition(case.settings.kafka.topics.manifests, 0)
    kept = case.send(25)
    _wait_for(case.settings, tp, in_sync={FIRST, SECOND})
    kafka.kill(SECOND)
    _wait_for(case.settings, tp, in_sync={FIRST})
    lost = case.send(15)
    case.work(lambda number: number >= 40)
    kafka.kill(FIRST)
    kafka.restart(SECOND)
    _wait_for(case.settings, tp, in_sync={SECOND})
    names = case.send(35)  # among them some with the offsets of those that were lost
    kafka.restart(FIRST)
    code = case.work(lambda number: number >= 35)
    if code == exit_codes.LOG_CHANGED:
        case.move(25)
        case.work(lambda number: number >= 35)
    return case.found(kept + lost + names, deleted=0)


def _wait_for(settings: Settings, tp: TopicPartition, in_sync: set[int]) -> None:
    """Wait until the replicas of `tp` on these brokers are in sync, and no others."""

    def met() -> bool:
        try:
            with make_admin(settings.kafka) as admin:
                [topic] = admin.describe_topics([tp.topic])
        except KafkaError:
            return False
        [partition] = topic["partitions"]
        found = {each - 1 for each in partition["isr_nodes"]}
        return found == in_sync and partition["leader_id"] - 1 in in_sync

    wait_until(met, timeout_s=90, what=f"the replicas on {sorted(in_sync)}")


class _ReplicatedCluster(BrokerCluster):
    """Its manifest topics are on two of three brokers, and may lose records (`UNCLEAN`)."""

    def settings(self, partitions: int = 1, **stream: Any) -> Settings:
        settings = settings_of(self.bootstrap, self.unique("stream"), **stream)
        topics = partitions_of(settings, partitions)
        count = topics.pop(settings.kafka.topics.manifests)
        assert count == 1
        brokers = [FIRST + 1, SECOND + 1]
        topic = {"assignments": {0: brokers}, "configs": UNCLEAN}
        with make_admin(settings.kafka) as admin:
            admin.create_topics({settings.kafka.topics.manifests: topic})
        ensure_topics(self.bootstrap, topics)
        return settings


def run_cases(say: Callable[[str], None]) -> dict[str, int]:
    """Run every case with both settings.

    Returns:
        ``cases``, and the sums of what `Found` has.
    """
    names = map("changes-{}".format, itertools.count())
    found: dict[str, Found] = {}
    settings: tuple[OnChange, ...] = ("stop", "resume")

    def run(case: Callable[[LogCase], Found], cluster: BrokerCluster, on_change: OnChange) -> None:
        name = f"{case.__name__}, {on_change}"
        found[name] = case(LogCase(cluster, on_change))
        say(f"{name}: {found[name]._asdict()}")

    def unique(prefix: str) -> str:
        return f"{prefix}-{next(names)}"

    with Cluster() as kafka:
        for case in (deleted_unread, created_again_while_stopped, created_again_while_running):
            for on_change in settings:
                run(case, BrokerCluster(kafka, unique), on_change)
    with Cluster(brokers=3) as kafka:

        def unclean_election(case: LogCase) -> Found:
            return cut_off(case, kafka)

        for on_change in settings:
            run(unclean_election, _ReplicatedCluster(kafka, unique), on_change)
    sums = [sum(column) for column in zip(*found.values(), strict=True)]
    return {"cases": len(found), **dict(zip(Found._fields, sums, strict=True))}


def main() -> None:
    """Run every case; the last line is JSON. Ends with code 1 if anything is wrong."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    figures = run_cases(lambda line: print(line, flush=True))
    print(json.dumps(figures))
    sys.exit(1 if any(figures[name] for name in Found._fields) else 0)


if __name__ == "__main__":
    main()
