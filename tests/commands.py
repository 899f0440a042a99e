"""Python modules as commands, without the seconds of imports that each would begin with.

`Commands` keeps the fork server of a local Ray cluster (`serve_app.cluster.quick_start`) for the
tests: one process imports torch and NeMo, and every command is forked from it. Such a command is a
process like any other, with arguments, folder, environment, streams, process group and exit code of
its own. Only its start is no longer real: what a command imports, and how it behaves meanwhile, are
for tests to see that start it by `subprocess`. Where there is no fork server (on a machine with a
GPU), commands start in the plain way.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from serve_app.cluster.quick_start.fork_server import start_fork_server

_KEEPER = Path(__file__).with_name("command_keeper.py")

#: What is imported before the fork: all that commands with models import, and not Ray.
MODULES = (
    "serve_app.engines.nemo.engine",
    "serve_app.engines.nemo.imports:import_nemo",
    "workers.cli",
    "workers.evaluation",
    "workers.finetune.job",
)


class Command:
    """A command that runs or has run: as much of `subprocess.Popen` as tests need.

    Attributes:
        pid: number of its process, which leads a process group.
        returncode: None while it runs; negative: the signal that ended it.
    """

    def __init__(self, keeper: socket.socket, output: int, errors: int) -> None:
        self.returncode: int | None = None
        self._keeper = keeper
        self._streams = (output, errors)
        self.pid = self._told()

    def poll(self) -> int | None:
        """The exit code, None while the command runs."""
        with contextlib.suppress(TimeoutError, BlockingIOError):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; returns the exit code.

        Raises:
            TimeoutError: it runs longer than `timeout` seconds.
        """
        if self.returncode is None:
            self._keeper.settimeout(timeout)
            self.returncode = self._told()
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Signal the command, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end; returns what the command wrote to standard output and error."""
        self.wait(timeout)
        return self._written(0), self._written(1)

    def close(self) -> None:
        """Kill the command if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            self.send_signal(signal.SIGKILL)
        self.wait()
        self._keeper.close()
        for stream in self._streams:
            os.close(stream)

    def _told(self) -> int:
        message = self._keeper.recv(32)
        assert message, "the command's keeper has died"
        return int(message)

    def _written(self, number: int) -> str:
        size = os.fstat(self._streams[number]).st_size
        return os.pread(self._streams[number], size, 0).decode()


class Commands(contextlib.AbstractContextManager["Commands"]):
    """Starts commands; when the context ends, those that still run are killed."""

    def __init__(self) -> None:
        self._started: list[Command] = []
        self._server = start_fork_server(MODULES)

    def run(
        self,
        module: str,
        *arguments: str,
        cwd: Path,
        timeout: float = 500,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """As `subprocess.run` of ``python -m module arguments``, with its output captured."""
        command = self.start(module, *arguments, cwd=cwd, environment=environment)
        output, errors = command.communicate(timeout=timeout)
        return subprocess.CompletedProcess(
            [module, *arguments], command.wait(), stdout=output, stderr=errors
        )

    def start(
        self,
        module: str,
        *arguments: str,
        cwd: Path,
        environment: Mapping[str, str] | None = None,
    ) -> Command | subprocess.Popen[str]:
        """As `subprocess.Popen` of ``python -m module arguments``, its output captured."""
        environment = {**os.environ, **(environment or {})}
        if self._server is None:
            return subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        request = {
            "arguments": [str(_KEEPER), module, *arguments],
            "folder": str(cwd),
            "environment": environment,
        }
        ours, keepers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        streams = [_unnamed_file(), _unnamed_file()]
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server, keepers:
            server.connect(self._server.address)
            message = json.dumps(request).encode()
            socket.send_fds(server, [message], [keepers.fileno(), *streams])
            assert server.recv(16), "the fork server has died"
        command = Command(ours, *streams)
        self._started.append(command)
        return command

    def __exit__(self, *_: object) -> None:
        for command in self._started:
            command.close()
        if self._server is not None:
            self._server.stop()


def _unnamed_file() -> int:
    number, path = tempfile.mkstemp()
    os.unlink(path)
    return number
