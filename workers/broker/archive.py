"""An archive of a broker's classes, with which Java starts it in less than half the time.

From Java 25 on it is an AOT cache (JEP 483, 514), which any Java makes; before, an archive of class
data sharing, for which Java must have one of its own classes:
https://docs.oracle.com/en/java/javase/17/vm/class-data-sharing.html
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from serve_app.system.files import atomic_write
from workers.broker.broker import Broker, new_cluster_id
from workers.broker.jars import ARCHIVE_SUFFIX
from workers.broker.java import Java
from workers.broker.ports import free_ports
from workers.broker.properties import Node, server_properties

_TIMEOUT_S = 60.0


class _Kind(NamedTuple):
    """A kind of archive: Java's options that make and use it, and those that go with either."""

    make: str
    use: str
    others: tuple[str, ...] = ()


_SHARED = _Kind("ArchiveClassesAtExit", "SharedArchiveFile")
#: Java 25.0.2 mixes up the names of some adapters in the archive, and warns of each at every start.
_AOT = _Kind(
    "AOTCacheOutput",
    "AOTCache",
    (
        "-XX:+IgnoreUnrecognizedVMOptions",
        "-XX:+UnlockDiagnosticVMOptions",
        "-XX:-AOTAdapterCaching",
    ),
)


def archive_path(java: Java, jars: Sequence[Path]) -> Path:
    """Path of the archive for this Java and these jars, in the folder of the jars."""
    which = hashlib.sha256(f"{java.path.resolve()} {java.version}".encode()).hexdigest()[:12]
    return jars[0].with_name(f"classes-{which}{ARCHIVE_SUFFIX}")


def archive_options(java: Java, jars: Sequence[Path]) -> list[str]:
    """Options that make Java use the archive if it exists; Java ignores an outdated one."""
    path, kind = archive_path(java, jars), _kind(java)
    return [f"-XX:{kind.use}={path}", *kind.others] if path.exists() else []


def make_archive(java: Java, jars: Sequence[Path]) -> bool:
    """Write the archive, by starting and stopping a broker (20 s).

    Some distributions of Java before 25 cannot make archives; brokers then start more slowly.

    Args:
        java: the Java that will run the broker.
        jars: the broker's jars.

    Returns:
        Whether there is an archive now.

    Raises:
        BrokerError: the broker does not start.
    """
    path = archive_path(java, jars)
    if path.exists():
        return True
    if not _can_share(java):
        return False
    # a Java that is killed may leave the process that writes
    with tempfile.TemporaryDirectory(prefix="chorus-kafka-", ignore_cleanup_errors=True) as folder:
        written = Path(folder) / "classes.jsa"
        client_port, controller_port = free_ports(2)
        node = Node(1, client_port, controller_port)
        settings = server_properties(node, [node], Path(folder) / "data", {})
        kind = _kind(java)
        options = [f"-XX:{kind.make}={written}", *kind.others]
        cluster_id = new_cluster_id()
        Broker(java.path, jars, node, Path(folder), settings).format(cluster_id)
        broker = Broker(java.path, jars, node, Path(folder), settings, options)
        try:
            broker.launch(cluster_id)
            broker.wait_until_ready(cluster_id, 1, time.monotonic() + _TIMEOUT_S)
            broker.terminate()
            if not broker.wait(time.monotonic() + _TIMEOUT_S):  # it writes the archive
                return False
        finally:
            broker.kill()
        if not written.exists():
            return False
        atomic_write(path, written.read_bytes())
        return True


def _kind(java: Java) -> _Kind:
    return _AOT if java.major >= 25 else _SHARED


def _can_share(java: Java) -> bool:
    """Whether this Java makes archives: before 25, it needs one of its own classes for that."""
    if _kind(java) is _AOT:
        return True
    done = subprocess.run([java.path, "-Xshare:on", "-version"], capture_output=True, check=False)
    return done.returncode == 0
