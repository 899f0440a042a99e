"""One Kafka broker: a Java process with a folder of its own."""

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

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from workers.kafka.child import spawn
from workers.kafka.ports import HOST
from workers.kafka.properties import LOG4J_PROPERTIES, Node

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
    """A broker cannot be started; the message says why and what to do."""


class PortTakenError(BrokerError):
    """Another process listens on a port that the broker was to have."""

    def __init__(self, port: int) -> None:
        super().__init__(
            f"port {port} of {HOST} is taken: stop what listens there, or ask for another port"
        )
        self.port = port


def new_cluster_id() -> str:
    """A random id in the form that Kafka asks for: 16 bytes in base64, without padding.

    It does not begin with a dash, which Kafka's tools would take for an option.
    """
    cluster_id = "-"
    while cluster_id.startswith("-"):
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    return cluster_id


class Broker:
    """A broker's process and what it keeps.

    The folder holds `server.properties`, the data in `data`, and `broker.log`, to which every
    start appends.

    Args:
        java: the Java executable.
        classpath: the broker's jars.
        node: its number and ports.
        folder: made where it does not exist.
        settings: the text of `server.properties`.
        java_options: further options of Java.
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
        """Process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def launch(self, cluster_id: str, keep_open: Sequence[int] = ()) -> None:
        """Start the process, with its data folder formatted before the first time.

        Blocks for the formatting (a second); returns before the broker answers.

        Args:
            keep_open: file descriptors that it inherits.

        Raises:
            BrokerError: the data folder cannot be formatted.
        """
        if not (self.folder / "data" / "meta.properties").exists():
            self._format(cluster_id)
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        self._process = spawn(
            [*self._java, "kafka.Kafka", self._settings], self.log, keep_open=keep_open
        )

    def wait_until_ready(self, cluster_id: str, brokers: int, deadline: float) -> None:
        """Block until it answers a request and knows `brokers` brokers that are up.

        Args:
            deadline: on the clock `time.monotonic`.

        Raises:
            PortTakenError: it ended because another process has one of its ports.
            BrokerError: it ended for another reason, or does not answer in time.
        """
        while True:
            self.check()
            if self._listens() and self._knows(cluster_id, brokers):
                return
            if time.monotonic() > deadline:
                raise BrokerError(
                    f"Kafka broker {self.node.number} does not answer.\n{self._tail()}"
                )
            time.sleep(_POLL_S)

    def check(self) -> None:
        """Do nothing while the process runs.

        Raises:
            PortTakenError: it ended because another process has one of its ports.
            BrokerError: it ended for another reason; the message shows the end of its log.
        """
        if self.pid is not None:
            return
        taken = re.search(r"failed to bind to \S*:(\d+): Address already in use", self._said())
        if taken:
            raise PortTakenError(int(taken.group(1)))
        status = self._process.returncode if self._process else None
        raise BrokerError(
            f"Kafka broker {self.node.number} ended with status {status}.\n{self._tail()}"
        )

    def terminate(self) -> None:
        """Ask it to stop (SIGTERM); returns at once."""
        if self._process and self.pid:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, and wait for the end of the process. Does nothing if it does not run."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def wait(self, deadline: float) -> bool:
        """Block until it has ended, or `deadline` on `time.monotonic`; whether it has ended."""
        try:
            if self._process:
                self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return False
        return True

    def _format(self, cluster_id: str) -> None:
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
            said = (done.stderr or done.stdout).strip()
            raise BrokerError(f"Kafka cannot format {self.folder}:\n{said}")

    def _listens(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((HOST, self.node.port)) == 0

    def _knows(self, cluster_id: str, brokers: int) -> bool:
        """Whether this very cluster answers there: the port could be another broker's."""
        try:
            with KafkaAdminClient(
                bootstrap_servers=f"{HOST}:{self.node.port}",
                bootstrap_timeout_ms=_ANSWER_MS,
                request_timeout_ms=_ANSWER_MS,
            ) as admin:
                cluster = admin.describe_cluster()
        except KafkaError:
            return False
        up = [each for each in cluster["brokers"] if not each.get("is_fenced")]
        return cluster["cluster_id"] == cluster_id and len(up) >= brokers

    def _tail(self) -> str:
        lines = self._said().splitlines()[-_TAIL_LINES:]
        return "\n".join([f"The end of {self.log}:", *lines])

    def _said(self) -> str:
        """What it has written to its log since it was launched."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")
