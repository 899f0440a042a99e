"""Chorus on one machine: a broker, `chorus serve` and stream workers as child processes.

The demo, the benchmarks and the fault-injection tests run on it, so that they exercise the same
commands as an operator.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import yaml

from schemas.settings import Settings, load_settings
from serve_app.system.files import atomic_write
from workers.broker.cluster import Cluster
from workers.kafka.topics import ensure_settings_topics

ROOT = Path(__file__).resolve().parent.parent
CHORUS = [sys.executable, "-m", "workers.cli"]


class ChildDiedError(RuntimeError):
    """A process of the stack ended by itself; the message shows the end of its log."""


class LocalStack(contextlib.AbstractContextManager["LocalStack"]):
    """Broker, models and workers for one run, on free ports; stopped when the context ends.

    Args:
        settings: content of the settings file; the address of the broker is filled in.
        base: folder that relative paths in the settings are relative to.
        brokers: 1, or 3 for a replicated cluster.
        partitions: number of partitions of the manifest topic.

    Attributes:
        folder: settings, logs and Kafka's data; removed at the end unless `keep_folder` is set.
        keep_folder: whether `folder` is kept at the end.
        kafka: the cluster of brokers.
        settings_file: settings file that the processes read.
        address: address of the Ray cluster, once `wait_for_serve` has returned.
        workers: the worker processes by instance.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        base: Path,
        *,
        brokers: int = 1,
        partitions: int = 6,
    ) -> None:
        self._raw = _absolute(dict(settings), base)
        self._partitions = partitions
        self.folder = Path(tempfile.mkdtemp(prefix="chorus-"))
        self.keep_folder = False
        self.kafka = Cluster(brokers, data_dir=self.folder / "kafka")
        self._replication = min(3, brokers)
        self.settings_file = self.folder / "chorus.yaml"
        self.address = ""
        self._serve: subprocess.Popen[bytes] | None = None
        # a name of its own: other stacks on this machine may have the same models
        self._raw["serve"] = {"app": self.folder.name.lower(), **self._raw.get("serve", {})}
        self._write_settings()
        self.workers: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def settings(self) -> Settings:
        """The settings that the processes use."""
        return load_settings(self.settings_file)

    @property
    def serve(self) -> subprocess.Popen[bytes]:
        """The process of `chorus serve`, once it has been started."""
        if self._serve is None:
            raise RuntimeError("`chorus serve` has not been started")
        return self._serve

    def start_broker(self) -> None:
        """Start Kafka, write its address into the settings file, and create the topics."""
        self.kafka.start()
        kafka = {
            **self._raw.get("kafka", {}),
            "bootstrap_servers": self.kafka.bootstrap_servers,
        }
        self._raw["kafka"] = kafka
        self._write_settings()
        ensure_settings_topics(self.settings.kafka, self._partitions, self._replication)

    def start_serve(self) -> None:
        """Start the models and the Router, without waiting; they need no broker.

        Also where an earlier `chorus serve` has ended.
        """
        ready = self.folder / "serve.json"
        ready.unlink(missing_ok=True)  # one that was killed leaves it
        self._serve = self._spawn("serve", "--ready-file", str(ready))

    def wait_for_serve(self, timeout_s: float = 300) -> None:
        """Block until the Router answers.

        Raises:
            ChildDiedError: `chorus serve` ended.
            TimeoutError: the models were not ready in time.
        """
        ready = self.folder / "serve.json"
        deadline = time.monotonic() + timeout_s
        while not ready.exists():
            self.check_serve()
            if time.monotonic() > deadline:
                raise TimeoutError("the models were not ready in time")
            time.sleep(0.05)
        self.address = json.loads(ready.read_text())["address"]

    def start_worker(self, instance: str = "0") -> subprocess.Popen[bytes]:
        """Start one stream worker; after a restart it has the same name, `instance`.

        It waits for models that start, once `chorus serve` has announced them, a second after its
        own start.
        """
        process = self._spawn("stream", "--instance", instance, log=f"worker-{instance}")
        self.workers[instance] = process
        return process

    def kill_worker(self, instance: str) -> None:
        """Kill a worker (SIGKILL), as in a crash; `start_worker` starts it again."""
        process = self.workers[instance]
        process.kill()
        process.wait()

    def check(self, name: str, process: subprocess.Popen[bytes] | None) -> None:
        """Raise `ChildDiedError` if `process` has ended."""
        if process is not None and process.poll() is not None:
            end = "\n".join(self.log(name).splitlines()[-25:])
            raise ChildDiedError(f"chorus {name} ended with code {process.returncode}:\n{end}")

    def check_all(self) -> None:
        """Raise `ChildDiedError` if any process of the stack has ended."""
        self.check_serve()
        for instance in self.workers:
            self.check_worker(instance)

    def check_serve(self) -> None:
        """Raise `ChildDiedError` if `chorus serve` has ended."""
        self.check("serve", self._serve)

    def check_worker(self, instance: str) -> None:
        """Raise `ChildDiedError` if the worker has ended."""
        self.check(f"worker-{instance}", self.workers[instance])

    def log(self, name: str) -> str:
        """Read the log of the process `name` ("serve", "worker-0")."""
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def processes(self) -> list[psutil.Process]:
        """List all processes of the stack: brokers, Ray, replicas, workers."""
        owners = [self._serve, *self.workers.values()]
        pids = [*self.kafka.pids, *(process.pid for process in owners if process is not None)]
        found = []
        for pid in filter(None, pids):  # a broker that was killed has none
            with contextlib.suppress(psutil.NoSuchProcess):
                owner = psutil.Process(pid)
                found += [owner, *owner.children(recursive=True)]
        return found

    def stop_workers(self) -> dict[str, int]:
        """Stop the workers as Ctrl-C would, and return their exit codes by instance."""
        for process in self.workers.values():
            _signal(process, signal.SIGTERM)
        return {instance: _reap(process, 30) for instance, process in self.workers.items()}

    def stop(self) -> None:
        """Stop everything, workers first; processes that do not end in time are killed."""
        self.stop_workers()
        if self._serve is not None:
            _signal(self._serve, signal.SIGTERM)
        self.kafka.stop()  # meanwhile: only the workers need it
        if self._serve is not None:
            _reap(self._serve, 30)
        if not self.keep_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _write_settings(self) -> None:
        atomic_write(self.settings_file, yaml.safe_dump(self._raw, sort_keys=False))

    def _spawn(self, command: str, *arguments: str, log: str = "") -> subprocess.Popen[bytes]:
        # in its own session: Ctrl-C reaches only the owner of the stack, which stops all in order
        with (self.folder / f"{log or command}.log").open("ab") as output:
            return subprocess.Popen(
                [*CHORUS, command, "--settings", str(self.settings_file), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)


def _reap(process: subprocess.Popen[bytes], timeout_s: float) -> int:
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        return process.wait()


def _absolute(raw: dict[str, Any], base: Path) -> dict[str, Any]:
    """`raw` with its relative paths made absolute."""
    models = {
        name: {**model, "path": str(base / model["path"])} if "path" in model else model
        for name, model in raw["models"].items()
    }
    audio = {**raw["audio"], "roots": [str(base / root) for root in raw["audio"]["roots"]]}
    return {**raw, "models": models, "audio": audio}
