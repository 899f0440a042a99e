"""Fixtures that several test folders share."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator

import pytest

from workers.kafka.cluster import Cluster
from workers.kafka.topics import ensure_topics

_numbers = itertools.count()


@pytest.fixture(scope="session")
def kafka() -> Iterator[Cluster]:
    """A running broker for the whole session; its address is `kafka.bootstrap`.

    Tests share it: take topics from `make_topic`, group and transactional ids from `unique`. A
    test that kills a broker starts a `Cluster` of its own.
    """
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def unique() -> Callable[[str], str]:
    """`unique("orders")` is a name that no other test uses: a topic, a group, an id."""

    def name(prefix: str = "test") -> str:
        return f"{prefix}-{next(_numbers)}-{uuid.uuid4().hex[:8]}"

    return name


@pytest.fixture
def make_topic(kafka: Cluster, unique: Callable[[str], str]) -> Callable[..., str]:
    """`make_topic("manifests", partitions=3)` creates a topic with a unique name, and names it."""

    def make(prefix: str = "topic", partitions: int = 1) -> str:
        name = unique(prefix)
        ensure_topics(kafka.bootstrap, {name: partitions})
        return name

    return make
