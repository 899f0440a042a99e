"""An Apache Kafka cluster of one broker, or three, as children of this process."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import msgspec

from serve_app.system.files import atomic_write
from workers.broker.archive import archive_options
from workers.broker.broker import Broker, BrokerError, PortTakenError, new_cluster_id
from workers.broker.jars import fetch_jars
from workers.broker.java import Java, find_java
from workers.broker.ports import HOST, free_ports, is_free
from workers.broker.properties import Node, server_properties

_ATTEMPTS = 5
_LOCK_WAIT_S = 2.0
_PREFIX = "chorus-kafka-"
_ABANDONED_S = 60.0


class _State(msgspec.Struct):
    """What is kept of a cluster in its data folder (`cluster.json`)."""

    cluster_id: str
    ports: list[int]


class Cluster:
    """A Kafka cluster on loopback.

        with Cluster() as kafka:
            producer = KafkaProducer(bootstrap_servers=kafka.bootstrap)

    Its processes never outlive this one: on Linux they are killed with it, however it ends.
    The methods block; call them from one thread at a time.

    Args:
        brokers: 1, or 3 for replicated topics that survive the loss of a broker.
        port: port of the first broker; the others use the following ports. None takes free ports,
            or those that the data folder used before.
        data_dir: folder for data and logs. None takes a temporary folder, which `stop` removes.
        config: broker settings by Kafka's names, which override those of Chorus.
        timeout_s: longest time to wait for the brokers to answer.
    """

    def __init__(
        self,
        brokers: int = 1,
        port: int | None = None,
        data_dir: Path | None = None,
        config: Mapping[str, str] | None = None,
        timeout_s: float = 90.0,
    ) -> None:
        if brokers not in (1, 3):
            raise ValueError(f"a cluster has 1 or 3 brokers, not {brokers}")
        self._size = brokers
        self._port = port
        self._data_dir = data_dir
        self._config = dict(config or {})
        self._timeout_s = timeout_s
        self._folder = Path()
        self._lock: int | None = None
        self._state = _State("", [])
        self._brokers: list[Broker] = []

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def bootstrap_servers(self) -> list[str]:
        """`host:port` of every broker, in the order of their indices."""
        return [f"{HOST}:{port}" for port in self._state.ports]

    @property
    def bootstrap(self) -> str:
        """`bootstrap_servers` separated by commas."""
        return ",".join(self.bootstrap_servers)

    @property
    def folder(self) -> Path:
        """Folder with data and logs: `broker-1/broker.log`, `broker-1/data` and so on."""
        return self._folder

    @property
    def pids(self) -> list[int | None]:
        """Process id of each broker; None while it does not run."""
        return [broker.pid for broker in self._brokers]

    def start(self) -> None:
        """Start all brokers; returns when each answers and sees the others.

        The first start on a machine downloads Kafka (45 MB).

        Raises:
            JarError: Kafka's jars cannot be fetched.
            JavaError: no usable Java was found.
            BrokerError: a port is in use, the data folder is in use or belongs to a cluster of
                another size, or a broker does not start. Nothing is left running.
        """
        if self._brokers:
            raise RuntimeError("the cluster is already started")
        java, jars = find_java(), fetch_jars()
        try:
            self._open_folder()
            required = self._required_ports()
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    self._launch_all(java, jars, required)
                    return
                except PortTakenError as taken:
                    # the port was free when it was chosen
                    self._kill_all()
                    if taken.port in required or attempt == _ATTEMPTS:
                        raise
        except BaseException:
            self._kill_all()
            self.stop()
            raise

    def stop(self, timeout_s: float = 20.0) -> None:
        """Stop all brokers; does nothing if none runs.

        Brokers with a data folder shut down properly; those with temporary data are killed.

        Args:
            timeout_s: longest time to wait before brokers are killed.
        """
        try:
            if self._data_dir is not None:
                deadline = time.monotonic() + timeout_s
                for broker in self._brokers:
                    broker.terminate()
                for broker in self._brokers:
                    broker.wait(deadline)
        finally:
            self._kill_all()
            self._brokers = []
            self._close_folder()

    def check(self) -> None:
        """Do nothing while all brokers run.

        Raises:
            BrokerError: a broker has ended; the message shows the end of its log.
        """
        for broker in self._brokers:
            broker.check()

    def kill(self, index: int) -> None:
        """Kill broker `index` (from 0) with SIGKILL, as in a crash; returns when it has ended."""
        self._brokers[index].kill()

    def restart(self, index: int) -> None:
        """Start broker `index` (from 0) again with its port and data; returns when it answers.

        A broker that still runs is stopped first.

        Raises:
            BrokerError: the broker does not start.
        """
        broker = self._brokers[index]
        broker.terminate()
        if not broker.wait(time.monotonic() + self._timeout_s):
            broker.kill()
        broker.launch(self._state.cluster_id, self._inherited())
        broker.wait_until_ready(self._state.cluster_id, 1, time.monotonic() + self._timeout_s)

    def _open_folder(self) -> None:
        """Create and lock the folder, and read its state or make a new one."""
        if self._data_dir is None:
            _remove_abandoned()
            self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        else:
            self._folder = self._data_dir.resolve()
            self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = _lock_folder(self._folder)
        kept = self._folder / "cluster.json"
        if not kept.exists():
            self._state = _State(new_cluster_id(), [])
            return
        self._state = msgspec.json.decode(kept.read_bytes(), type=_State)
        if len(self._state.ports) != self._size:
            raise BrokerError(
                f"{self._folder} contains a cluster of {len(self._state.ports)} broker(s), not "
                f"{self._size}: start as many brokers, or use another folder"
            )

    def _close_folder(self) -> None:
        if self._lock is None:
            return
        os.close(self._lock)
        self._lock = None
        if self._data_dir is None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _required_ports(self) -> list[int]:
        """Ports that clients already know: those that were asked for, else those used before."""
        if self._port is not None:
            return list(range(self._port, self._port + self._size))
        return self._state.ports

    def _launch_all(self, java: Java, jars: list[Path], required: list[int]) -> None:
        for port in required:
            if not is_free(port):
                raise PortTakenError(port)
        ports = free_ports(2 * self._size, avoid=required)
        controllers = ports[self._size :]
        self._state.ports = required or ports[: self._size]
        self._write_state()
        nodes = [
            Node(number, port, controller)
            for number, (port, controller) in enumerate(
                zip(self._state.ports, controllers, strict=True), start=1
            )
        ]
        self._brokers = [self._broker(java, jars, node, nodes) for node in nodes]
        cluster_id, deadline = self._state.cluster_id, time.monotonic() + self._timeout_s
        with ThreadPoolExecutor(self._size) as pool:  # formatting takes a second each
            list(pool.map(lambda each: each.launch(cluster_id, self._inherited()), self._brokers))
        for broker in self._brokers:
            broker.wait_until_ready(cluster_id, self._size, deadline)

    def _broker(self, java: Java, jars: list[Path], node: Node, nodes: list[Node]) -> Broker:
        folder = self._folder / f"broker-{node.number}"
        settings = server_properties(node, nodes, folder / "data", self._config)
        return Broker(java.path, jars, node, folder, settings, archive_options(java, jars))

    def _write_state(self) -> None:
        atomic_write(self._folder / "cluster.json", msgspec.json.encode(self._state))

    def _inherited(self) -> list[int]:
        """Descriptor of the lock: brokers inherit it, so that the lock lasts as long as they do."""
        return [] if self._lock is None else [self._lock]

    def _kill_all(self) -> None:
        for broker in self._brokers:
            broker.kill()


def _lock_folder(folder: Path) -> int:
    """Lock `folder`; the lock lasts as long as the returned file descriptor is open.

    Raises:
        BrokerError: another process keeps the lock.
    """
    lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    deadline = time.monotonic() + _LOCK_WAIT_S  # brokers whose parent was killed need a moment
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(lock)
                raise BrokerError(
                    f"{folder} is in use by another broker: stop that one, or use another folder"
                ) from None
            time.sleep(0.1)


def _remove_abandoned() -> None:
    """Remove temporary folders whose owner was killed: those that no process has locked."""
    for lock in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/.lock"):
        with contextlib.suppress(OSError), lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # a new folder is not yet locked for a moment
            if time.time() - lock.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(lock.parent, ignore_errors=True)
