"""`chorus broker`: a cluster in the foreground."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from rich.console import Console

from workers.kafka.cluster import Cluster

_LOOK_S = 1.0


def run_broker(
    port: int | None = None,
    brokers: int = 1,
    data_dir: Path | None = None,
    ready_file: Path | None = None,
) -> None:
    """Run a cluster until SIGINT or SIGTERM, then stop it and return.

    Prints one line with the bootstrap address when every broker answers. Call it from the main
    thread: it takes over the two signals while it runs.

    Args:
        port, brokers, data_dir: see `Cluster`.
        ready_file: gets `{"bootstrap_servers": [...], "pid": ...}` at that moment, whole or not
            at all; removed at the end.

    Raises:
        JarError, JavaError, BrokerError: it cannot be started, or a broker ended by itself.
    """
    with _signals_interrupt(), Cluster(brokers, port, data_dir) as cluster:
        where = f"data in {cluster.folder}" if data_dir else "data are thrown away at the end"
        Console().print(
            f"Kafka is ready: [bold]{cluster.bootstrap}[/bold] ({where}; Ctrl-C stops it)",
            highlight=False,
            soft_wrap=True,
        )
        with _announced(cluster, ready_file):
            while True:
                cluster.check()
                time.sleep(_LOOK_S)


@contextlib.contextmanager
def _signals_interrupt() -> Iterator[None]:
    """SIGTERM interrupts the block as Ctrl-C does; both end it without an error."""
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
    written = ready_file.with_name(f"{ready_file.name}.{os.getpid()}.new")
    written.write_bytes(text)
    os.replace(written, ready_file)
    try:
        yield
    finally:
        ready_file.unlink(missing_ok=True)
