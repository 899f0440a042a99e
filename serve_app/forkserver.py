"""A fork server for Ray's workers: import once, fork for each replica.

A replica spends most of its start on imports: eleven seconds of CPU for Ray Serve, torch and NeMo,
half a second for the model. On a cluster of our own one process does the imports, while Ray itself
starts, and every worker is forked from it. Replicas start, and come back after a crash, in a fifth
of the CPU; and they share the memory of the imported code (some 700 MB each).

The parts: `start` runs this module as a process; Ray's raylet runs `serve_app.fork_launcher` where
it would run Ray's own ``setup_worker.py``; the launcher passes its arguments, environment and
standard streams over a Unix socket; the server forks, and the child runs Ray's worker script as if
Python had been started with it. Ray itself is never imported before the fork: it reads its
configuration, which differs from worker to worker, when it is imported. Neither are threads
started, nor CUDA (`start` refuses on a machine with a GPU: CUDA does not survive a fork).

If the server has ended, or a worker needs a runtime environment of its own, the launcher starts it
in the plain way.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

import msgspec

from serve_app.processes import kill_tree

#: Names the server's socket to the launcher.
SOCKET_VARIABLE = "CHORUS_FORK_SERVER"
#: What every worker imports: the libraries under Ray Serve, and what is ours without Ray.
COMMON_MODULES = (
    "pandas",
    "fastapi",
    "aiohttp",
    "grpc",
    "jsonschema",
    "opentelemetry.sdk.trace",
    "requests",
    "serve_app.domain_model",
    "serve_app.transcriber",
)
#: What a worker with a NeMo model imports too.
NEMO_MODULES = ("serve_app.engines.nemo", "serve_app.engines.nemo_import:import_nemo")

#: Largest message of a launcher: arguments and environment. The kernel's default allows 200 kB.
_MESSAGE_BYTES = 1 << 20


class ForkServer:
    """The running server, as its owner sees it. It ends with `stop` or with its owner, however
    that ends. Workers outlive a server that dies; `stop` ends them too.

    Attributes:
        address: path of its socket, for `SOCKET_VARIABLE`.
    """

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self._process = process
        self._folder = folder
        self.address = str(folder / "socket")

    def stop(self) -> None:
        """End the server and what is left of its workers, at once. Idempotent."""
        if self._process.poll() is None:  # its number may be another process's by now
            kill_tree(self._process.pid)
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def start(modules: Sequence[str]) -> ForkServer | None:
    """Start a server that imports `modules`; returns at once, without waiting for the imports.

    Args:
        modules: names of modules, or ``module:function`` to call a function of one.

    Returns:
        None on a machine with a GPU, and on other systems than Linux.
    """
    if sys.platform != "linux" or os.path.exists("/dev/nvidiactl"):
        return None
    folder = Path(tempfile.mkdtemp(prefix="chorus-fork-"))  # ours alone: mode 0700
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(folder / "socket"))
        listener.listen(128)  # launchers that come before the imports are done wait here
        process = subprocess.Popen(
            # The long name leaves room for the titles that Ray gives to the workers.
            [sys.executable, "-m", __name__, str(listener.fileno()), *modules],
            stdin=subprocess.PIPE,  # closed by the kernel when this process ends
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
    return ForkServer(process, folder)


class Request(msgspec.Struct):
    """What a launcher asks for: a worker as if Python had been started with this."""

    arguments: list[str]
    folder: str
    environment: dict[str, str]


def serve(listener: socket.socket, modules: Sequence[str]) -> None:
    """Import `modules`, then fork for each request to `listener` until standard input ends."""
    for module in modules:
        _import(module)
    gc.collect()
    gc.freeze()  # a collection in a child would touch, so copy, every page
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:  # the owner has ended and could not clean up
            shutil.rmtree(Path(listener.getsockname()).parent, ignore_errors=True)
            return
        connection, _ = listener.accept()
        _handle(connection, listener)
        connection.close()


def _import(module: str) -> None:
    name, _, function = module.partition(":")
    try:
        imported = importlib.import_module(name)
        if function:
            getattr(imported, function)()
    except Exception:
        traceback.print_exc()  # the workers import it themselves, and fail where it is needed
    if "ray" in sys.modules:
        raise RuntimeError(f"{module} imports Ray, which must not be imported before a fork")


def _handle(connection: socket.socket, listener: socket.socket) -> None:
    message, streams, _, _ = socket.recv_fds(connection, _MESSAGE_BYTES, 3)
    if len(streams) != 3:  # the launcher was killed
        return
    if os.fork() == 0:
        try:
            listener.close()
            connection.close()
            _become_worker(msgspec.json.decode(message, type=Request), streams)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    for stream in streams:
        os.close(stream)
    connection.send(b"forked")


def _become_worker(request: Request, streams: Sequence[int]) -> None:
    """Run the worker's script in this process, which was forked for it. Does not return."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setpgid(0, 0)
    with contextlib.suppress(OSError):  # as the raylet does: short of memory, workers go first
        Path("/proc/self/oom_score_adj").write_text("1000")
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(request.environment)
    os.chdir(request.folder)
    sys.argv[:] = request.arguments
    sys.path[0] = os.path.dirname(sys.argv[0])
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as error:
        os._exit(error.code if isinstance(error.code, int) else 1)
    os._exit(0)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
