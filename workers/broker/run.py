"""`chorus broker`: prepare a broker, and run a cluster in the foreground."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from rich.console import Console

from serve_app.system.files import atomic_write
from workers.broker.archive import make_archive
from workers.broker.cluster import Cluster
from workers.broker.jars import fetch_jars
from workers.broker.java import find_java
from workers.broker.pins import read_lock

_CHECK_INTERVAL_S = 1.0


def prepare_broker() -> None:
    """Fetch Kafka's jars, find a Java, make the archive of classes, and say so.

    Raises:
        JarError: Kafka's jars cannot be fetched.
        JavaError: no usable Java was found.
        BrokerError: a broker cannot be started.
    """
    java, jars = find_java(), fetch_jars()
    how = (
        "quickly" if make_archive(java, jars) else "slowly: no archive of its classes could be made"
    )
    release = f"Apache Kafka {read_lock().kafka} on Java {java.version} ({java.origin})"
    Console().print(f"{release} is ready and starts {how}", highlight=False, soft_wrap=True)


def run_broker(
    port: int | None = None,
    brokers: int = 1,
    data_dir: Path | None = None,
    ready_file: Path | None = None,
) -> None:
    """Run a cluster until SIGINT or SIGTERM, then stop it and return.

    Prints one line with the bootstrap address when all brokers answer. Call it from the main
    thread: it handles the two signals while it runs.

    Args:
        port: port of the first broker, see `Cluster`.
        brokers: number of brokers, 1 or 3.
        data_dir: folder to keep the data in; None deletes them at the end.
        ready_file: file to write `{"bootstrap_servers": [...], "pid": ...}` to, atomically, when
            all brokers answer; removed at the end.

    Raises:
        JarError: Kafka's jars cannot be fetched.
        JavaError: no usable Java was found.
        BrokerError: a broker cannot be started, or ended by itself.
    """
    with _signals_interrupt(), Cluster(brokers, port, data_dir) as cluster:
        where = f"data in {cluster.folder}" if data_dir else "data is deleted at the end"
        Console().print(
            f"Kafka is ready: [bold]{cluster.bootstrap}[/bold] ({where}; Ctrl-C stops it)",
            highlight=False,
            soft_wrap=True,
        )
        with _announced(cluster, ready_file):
            while True:
                cluster.check()
                time.sleep(_CHECK_INTERVAL_S)


@contextlib.contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Let SIGTERM interrupt the block like Ctrl-C; both end it without an error."""
    before = {
        number: signal.signal(number, signal.default_int_handler)
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _announced(cluster: Cluster, ready_file: Path | None) -> Iterator[None]:
    if ready_file is None:
        yield
        return
    text = msgspec.json.encode({"bootstrap_servers": cluster.bootstrap_servers, "pid": os.getpid()})
    atomic_write(ready_file, text)
    try:
        yield
    finally:
        ready_file.unlink(missing_ok=True)
