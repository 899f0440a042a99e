"""A Ray cluster of several nodes on this machine, started as operators do: by `ray start`."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import psutil

from deploy.local import ROOT
from serve_app.cluster.access import make_token
from serve_app.system.ray_environment import COLLECTION, ENVIRONMENT
from tests.processes import command_of
from workers.broker.ports import free_ports
from workers.stream.serve_application import CLUSTER_NAME

_START_S = 180.0
#: Starts of a node, on a machine that is too busy for Ray's own limit.
_ATTEMPTS = 5


class RayNodes:
    """A head, without cores for replicas unless it is alone, and further nodes.

    What the head knows is kept on disk, so that it may be killed and started again.

    Args:
        folder: for Ray's files and logs; short, since the paths of sockets are below it.
        head_cpus: cores of the head for replicas.
        name: of the cluster, as KubeRay gives it to its nodes.
        metrics: whether the head serves Ray's metrics, as the manifests have it.
    """

    def __init__(
        self, folder: Path, *, head_cpus: int = 0, name: str = "", metrics: bool = False
    ) -> None:
        make_token()
        self._folder = folder
        self._head_cpus = head_cpus
        self._name = name
        self._metrics = metrics
        self._gcs, self._port, self._agent, self._client, self._scraped = free_ports(5)
        self._head: subprocess.Popen[bytes] | None = None
        self._nodes: list[subprocess.Popen[bytes]] = []
        self._closed = threading.Event()

    @property
    def dashboard(self) -> str:
        """URL of the dashboard."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def metrics_url(self) -> str:
        """Where Prometheus would fetch the head's metrics."""
        return f"http://127.0.0.1:{self._scraped}/metrics"

    def start_head(self) -> None:
        """Start the head, also again, and wait until its dashboard answers."""
        # Ray takes the other nodes, whose command lines have the address, for a head that runs
        (self._folder / "ray" / "ray_current_cluster").unlink(missing_ok=True)
        started = self._times_started()
        deadline = time.monotonic() + _START_S
        self._head = self._start_head()
        while self._times_started() == started or not self._answers():
            if time.monotonic() > deadline:
                raise RuntimeError(f"the head does not start:\n{self.log('head')}")
            if self._head.poll() is not None:  # as a supervisor would: Ray waits 30 s for itself
                self._kill_left_behind()
                self._head = self._start_head()
            time.sleep(0.2)

    def _kill_left_behind(self) -> None:
        """SIGKILL the processes of a head whose start has failed, which would keep its port."""
        others = {
            child.pid
            for node in self._nodes
            if node.poll() is None
            for child in psutil.Process(node.pid).children(recursive=True)
        }
        others |= {node.pid for node in self._nodes}
        for process in psutil.process_iter():
            command = " ".join(command_of(process))
            if process.pid not in others and re.search(rf"[:=]{self._gcs}\b", command):
                with suppress(psutil.NoSuchProcess):
                    process.kill()

    def _start_head(self) -> subprocess.Popen[bytes]:
        return self._start(
            "head",
            "--head",
            f"--port={self._gcs}",
            f"--dashboard-port={self._port}",
            f"--dashboard-agent-listen-port={self._agent}",
            f"--ray-client-server-port={self._client}",
            f"--metrics-export-port={self._scraped}",
            f"--num-cpus={self._head_cpus}",
            f"--temp-dir={self._folder / 'ray'}",
        )

    def _times_started(self) -> int:
        try:
            return self.log("head").count("Ray runtime started.")
        except FileNotFoundError:
            return 0

    def add(self, name: str, cpus: int) -> None:
        """Start a node, again if Ray gives up within its 30 s; returns at once.

        Args:
            name: of its log.
            cpus: cores for replicas.
        """
        number = len(self._nodes)
        self._nodes.append(self._start_node(name, cpus))

        def supervise() -> None:
            for _ in range(_ATTEMPTS):
                while "Ray runtime started." not in self.log(name):
                    if self._nodes[number].poll() is not None:
                        break
                    time.sleep(0.5)
                else:
                    return
                if self._closed.is_set() or self._nodes[number].returncode == -signal.SIGKILL:
                    return
                self._nodes[number] = self._start_node(name, cpus)

        threading.Thread(target=supervise, daemon=True).start()

    def _start_node(self, name: str, cpus: int) -> subprocess.Popen[bytes]:
        [agent] = free_ports(1)
        return self._start(
            name,
            f"--address=127.0.0.1:{self._gcs}",
            f"--num-cpus={cpus}",
            f"--node-name={name}",
            f"--dashboard-agent-listen-port={agent}",
        )

    def drain(self, name: str, seconds: int) -> None:
        """Have Ray take everything off a node before it goes, as an autoscaler does.

        Args:
            name: of the node.
            seconds: until it goes.
        """
        program = f"import ray; ray.init('127.0.0.1:{self._gcs}', log_to_driver=False)\n" + (
            "for n in ray.nodes(): print(n['NodeName'], n['NodeID'], n['Alive'])"
        )
        found = subprocess.run(
            [sys.executable, "-c", program],
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=60,
        )
        nodes = re.findall(rf"^{name} ([0-9a-f]+) True$", found.stdout, re.MULTILINE)
        if len(nodes) != 1:
            raise RuntimeError(f"no node {name}: {found.stdout}{found.stderr[-500:]}")
        options = {
            "address": f"127.0.0.1:{self._gcs}",
            "node-id": nodes[0],
            "reason": "DRAIN_NODE_REASON_PREEMPTION",
            "reason-message": "the node goes",
            "deadline-remaining-seconds": f"{seconds}",
        }
        command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node"]
        arguments = [f"--{key}={value}" for key, value in options.items()]
        done = subprocess.run(
            [*command, *arguments],
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode:
            raise RuntimeError(f"{name} is not drained: {done.stdout[-500:]}{done.stderr[-500:]}")

    def kill(self, number: int) -> None:
        """SIGKILL every process of a node, in the order in which they were added."""
        _kill(self._nodes[number])

    def kill_head(self) -> None:
        """SIGKILL every process of the head."""
        if self._head is not None:
            _kill(self._head)

    def stop_head(self, grace_s: float) -> None:
        """End the head as Kubernetes ends a pod: SIGTERM, and SIGKILL after a while.

        Args:
            grace_s: seconds between the two.
        """
        if self._head is not None:
            self._head.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._head.wait(grace_s)
            _kill(self._head)

    def replica_logs(self) -> str:
        """What the replicas have logged, all together."""
        found = self._folder.glob("ray/session_*/logs/serve/replica_*.log")
        return "".join(each.read_text(errors="replace") for each in found)

    def log(self, name: str) -> str:
        """What `ray start` of a node has said."""
        return (self._folder / f"{name}.log").read_text()

    def close(self) -> None:
        """End everything at once."""
        self._closed.set()
        for each in filter(None, [*self._nodes, self._head]):
            _kill(each)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _environment(self) -> dict[str, str]:
        environment = {
            **os.environ,
            **ENVIRONMENT,
            "RAY_AUTH_MODE": "token",
            "RAY_gcs_storage": "rocksdb",
            "RAY_gcs_storage_path": str(self._folder / "gcs"),
            "PYTHONPATH": str(ROOT),
        }
        if self._metrics:
            environment[COLLECTION] = "1"
        return environment | ({CLUSTER_NAME: self._name} if self._name else {})

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.dashboard}/api/version", timeout=5).status_code < 500
        except httpx.HTTPError:
            return False

    def _start(self, name: str, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *options]
        ports = ["--min-worker-port=0", "--max-worker-port=0"]
        with (self._folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [*command, *ports],
                cwd=ROOT,
                env=self._environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


def _kill(node: subprocess.Popen[bytes]) -> None:
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(node.pid)
        for process in [parent, *parent.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
    node.wait()
