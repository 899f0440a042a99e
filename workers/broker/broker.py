"""One Kafka broker: a Java process with its own folder."""

from __future__ import annotations

import base64
import re
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from workers.broker.child import spawn
from workers.broker.ports import HOST
from workers.broker.properties import LOG4J_PROPERTIES, Node
from workers.kafka.clients import running_brokers

_JVM = (
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",  # C1 alone compiles: half the time to start
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
)
_POLL_S = 0.05
_ANSWER_MS = 5_000
_FORMAT_S = 120
_TAIL_LINES = 20


class BrokerError(RuntimeError):
    """A broker cannot be started, or has ended; the message says why and what to do."""


class PortTakenError(BrokerError):
    """Another process listens on a port that a broker needs.

    Args:
        port: the port.

    Attributes:
        port: the port.
    """

    def __init__(self, port: int) -> None:
        super().__init__(
            f"port {port} of {HOST} is in use: stop the process that listens there, or choose "
            "another port"
        )
        self.port = port


def new_cluster_id() -> str:
    """A random id in the form that Kafka requires: 16 bytes in base64, without padding.

    It does not begin with a dash, which Kafka's tools would take for an option.
    """
    cluster_id = "-"
    while cluster_id.startswith("-"):
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    return cluster_id


class Broker:
    """A broker's process and its folder.

    The folder contains `server.properties`, the data in `data`, and `broker.log`, to which every
    start appends.

    Args:
        java: the Java executable.
        classpath: the broker's jars.
        node: the broker's number and ports.
        folder: the broker's folder; created if it does not exist.
        settings: content of `server.properties`.
        java_options: further options for Java.

    Attributes:
        node: the broker's number and ports.
        folder: the broker's folder.
        log: the broker's log file.
    """

    def __init__(
        self,
        java: Path,
        classpath: Sequence[Path],
        node: Node,
        folder: Path,
        settings: str,
        java_options: Sequence[str] = (),
    ) -> None:
        self.node = node
        self.folder = folder
        self.log = folder / "broker.log"
        self._settings = folder / "server.properties"
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0
        # native libraries are unpacked into the folder, so nothing is left elsewhere
        scratch = folder / "tmp"
        scratch.mkdir(parents=True, exist_ok=True)
        log4j = folder / "log4j2.properties"
        log4j.write_text(LOG4J_PROPERTIES, encoding="utf-8")
        self._settings.write_text(settings, encoding="utf-8")
        self._java = [
            str(java),
            *_JVM,
            *java_options,
            f"-Djava.io.tmpdir={scratch}",
            f"-Dlog4j2.configurationFile={log4j}",
            "-cp",
            ":".join(map(str, classpath)),
        ]

    @property
    def pid(self) -> int | None:
        """Process id; None while the process does not run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def launch(self, cluster_id: str, keep_open: Sequence[int] = ()) -> None:
        """Start the process; before the first start, format its data folder.

        Formatting takes a second; returns before the broker answers.

        Args:
            cluster_id: id of the cluster that the broker belongs to.
            keep_open: file descriptors that the process inherits.

        Raises:
            BrokerError: the data folder cannot be formatted.
        """
        if not (self.folder / "data" / "meta.properties").exists():
            self.format(cluster_id)
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        self._process = spawn(
            [*self._java, "kafka.Kafka", self._settings], self.log, keep_open=keep_open
        )

    def wait_until_ready(self, cluster_id: str, brokers: int, deadline: float) -> None:
        """Block until the broker answers requests and sees enough running brokers.

        Args:
            cluster_id: id that the broker has to answer with.
            brokers: number of running brokers that it has to see.
            deadline: latest time, on the clock of `time.monotonic`.

        Raises:
            PortTakenError: the process ended because another one uses one of its ports.
            BrokerError: the process ended for another reason, or did not answer in time.
        """
        while True:
            self.check()
            if self._listens() and self._knows(cluster_id, brokers):
                return
            if time.monotonic() > deadline:
                raise BrokerError(
                    f"Kafka broker {self.node.number} did not answer in time.\n{self._tail()}"
                )
            time.sleep(_POLL_S)

    def check(self) -> None:
        """Do nothing while the process runs.

        Raises:
            PortTakenError: the process ended because another one uses one of its ports.
            BrokerError: the process ended for another reason; the message shows the end of its log.
        """
        if self.pid is not None:
            return
        taken = re.search(r"failed to bind to \S*:(\d+): Address already in use", self._logged())
        if taken:
            raise PortTakenError(int(taken.group(1)))
        status = self._process.returncode if self._process else None
        raise BrokerError(
            f"Kafka broker {self.node.number} ended with status {status}.\n{self._tail()}"
        )

    def terminate(self) -> None:
        """Ask the process to stop (SIGTERM), without waiting."""
        if self._process and self.pid:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the process (SIGKILL) and wait for its end; does nothing if it does not run."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def wait(self, deadline: float) -> bool:
        """Block until the process has ended.

        Args:
            deadline: latest time, on the clock of `time.monotonic`.

        Returns:
            Whether the process has ended.
        """
        try:
            if self._process:
                self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return False
        return True

    def format(self, cluster_id: str) -> None:
        """Format the data folder, which `launch` does too where it is not. Takes a second.

        Args:
            cluster_id: as for `launch`.

        Raises:
            BrokerError: it cannot be formatted.
        """
        tool = [*self._java, "kafka.tools.StorageTool", "format", "--ignore-formatted"]
        try:
            done = subprocess.run(
                [*tool, "-t", cluster_id, "-c", self._settings],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_FORMAT_S,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise BrokerError(f"cannot run Java to format {self.folder}: {error}") from None
        if done.returncode:
            reason = (done.stderr or done.stdout).strip()
            raise BrokerError(f"Kafka cannot format {self.folder}:\n{reason}")

    def _listens(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((HOST, self.node.port)) == 0

    def _knows(self, cluster_id: str, brokers: int) -> bool:
        """Whether the broker of this cluster answers: another cluster might use the port."""
        found = running_brokers(f"{HOST}:{self.node.port}", _ANSWER_MS)
        return found is not None and found[0] == cluster_id and found[1] >= brokers

    def _tail(self) -> str:
        lines = self._logged().splitlines()[-_TAIL_LINES:]
        return "\n".join([f"The end of {self.log}:", *lines])

    def _logged(self) -> str:
        """What the process has written to its log since it was started."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")
