"""Fixtures that several test folders share."""

from __future__ import annotations

import gc
import itertools
import os
import uuid
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.commands import Commands
from workers.broker.cluster import Cluster
from workers.kafka.topics import ensure_topics

_numbers = itertools.count()

# Neither the time of an example nor that of drawing it is asserted: both depend on the machine.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fast", settings.get_profile("default"), max_examples=20)
settings.load_profile("default")

#: With these a broker knows rights, and everybody has all of them until a test takes some away.
RIGHTS = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first where several pytest workers share the files.

    Each worker takes file after file, so that short ones are left to keep all busy to the end:
    those with slow tests come first, then those that wait for a broker, Ray or models.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        slow, waiting = (
            {item.path for item in items if any(map(item.get_closest_marker, names))}
            for names in (("slow",), ("kafka", "ray", "nemo"))
        )
        items.sort(key=lambda item: (item.path not in slow, item.path not in waiting))


def pytest_collection() -> None:
    """Import without garbage collections: modules stay, and there is nothing to find."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Keep what was imported out of garbage collections, which it makes take 0.3 s each."""
    gc.enable()
    gc.collect()
    gc.freeze()


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """The spans of this process, all of which are sampled, for one test."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    return exporter


@pytest.fixture(scope="session")
def kafka() -> Iterator[Cluster]:
    """A running broker for the whole session; its address is `kafka.bootstrap`.

    Tests share it: take topics from `make_topic`, group and transactional ids from `unique`. A
    test that kills a broker starts a `Cluster` of its own.
    """
    with Cluster(config=RIGHTS) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def commands() -> Iterator[Commands]:
    """Starts ``python -m MODULE`` without its imports; see `tests.commands`."""
    with Commands() as found:
        yield found


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
