"""A fork server for Ray's workers: import once, fork for each replica.

A replica spends most of its start on imports: eleven seconds of CPU for Ray Serve, torch and NeMo,
half a second for the model. On a cluster that Chorus starts, one process does the imports while Ray
itself starts, and every worker is forked from it. Replicas start, and restart after a crash, with a
fifth of the CPU, and they share the memory of the imported code (about 700 MB each).

`start_fork_server` runs this module as a process. Ray's raylet runs `launcher` instead of Ray's own
``setup_worker.py``. The launcher passes its arguments, environment and standard streams over a Unix
socket. The server forks, and the child runs Ray's worker script as if Python had been started with
it.

The first worker of a cluster is Serve's controller, which needs no NeMo and starts for seconds
before it asks for the replicas. So the server imports in two steps, the second in a process of its
own, and forks the first worker after the first step. Ray itself is never imported before the fork:
it reads its configuration, which differs from worker to worker, when it is imported. Threads and
CUDA are not started either (`start_fork_server` does nothing on a machine with a GPU: CUDA does not
survive a fork).

If the server has ended, or a worker needs a runtime environment of its own, the launcher starts it
in Ray's usual way.
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

from serve_app.system.imports import quick_imports
from serve_app.system.processes import block_sigterm, kill_tree

#: The environment variable with the path of the server's socket, for the launcher.
SOCKET_VARIABLE = "CHORUS_FORK_SERVER"
#: Modules that every worker imports: the dependencies of Ray Serve, and Chorus without Ray.
COMMON_MODULES = (
    "pandas",
    "fastapi",
    "aiohttp",
    "anyio._backends._asyncio",
    "google.protobuf.json_format",
    "grpc",
    "grpc_reflection.v1alpha.reflection",
    "jsonschema",
    "msgpack",
    "opentelemetry.sdk.trace.export",
    "opentelemetry.semconv.trace",
    "pdb",
    "pydantic.v1",
    "requests",
    "uvicorn",
    "uvloop",
    "serve_app.model.replica",
    "serve_app.router.transcriber",
    "serve_app.telemetry.shared",
)
#: Modules that a worker with a NeMo model imports too.
NEMO_MODULES = ("serve_app.engines.nemo.engine", "serve_app.engines.nemo.imports:import_nemo")

#: Between the two lists of modules on the command line.
_THEN = "then"
#: Largest message of a launcher: arguments and environment. The kernel's default allows 200 kB.
_MESSAGE_BYTES = 1 << 20


class ForkServer:
    """A running fork server, for the process that started it.

    It ends with `stop`, or with the process that started it, however that ends. Workers outlive a
    server that dies; `stop` ends them too.

    Args:
        process: the server.
        folder: holds its socket; removed by `stop`.

    Attributes:
        address: path of its socket, for `SOCKET_VARIABLE`.
    """

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self._process = process
        self._folder = folder
        self.address = str(folder / "socket")

    def stop(self) -> None:
        """Kill the server and its remaining workers. Idempotent."""
        if self._process.poll() is None:  # otherwise its PID may belong to another process by now
            kill_tree(self._process.pid)
        self._process.wait()
        if self._process.stdin is not None:  # the process of the second step may have been left
            self._process.stdin.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def start_fork_server(modules: Sequence[str], then: Sequence[str] = ()) -> ForkServer | None:
    """Start a server that imports `modules`; returns at once, without waiting for the imports.

    Args:
        modules: names of modules, or ``module:function`` to call a function of one.
        then: likewise, what all workers have but the first one, if that comes early.

    Returns:
        The server; None on a machine with a GPU, and on systems other than Linux.
    """
    if sys.platform != "linux" or os.path.exists("/dev/nvidiactl"):
        return None
    folder = Path(tempfile.mkdtemp(prefix="chorus-fork-"))  # mode 0700: this user only
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(folder / "socket"))
        listener.listen(128)  # launchers wait here until the imports are done
        process = subprocess.Popen(
            # The long name leaves room for the process titles that Ray gives to the workers.
            [sys.executable, "-m", __name__, str(listener.fileno()), *modules, _THEN, *then],
            stdin=subprocess.PIPE,  # closed by the kernel when this process ends
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
    return ForkServer(process, folder)


class Request(msgspec.Struct):
    """A launcher's request: a worker as if Python had been started like this.

    Attributes:
        arguments: the worker's script and its arguments.
        folder: its working directory.
        environment: its environment variables.
    """

    arguments: list[str]
    folder: str
    environment: dict[str, str]


def serve(listener: socket.socket, modules: Sequence[str], then: Sequence[str]) -> None:
    """Import modules, then fork for each request until standard input ends.

    Args:
        listener: the server's socket.
        modules: as for `start_fork_server`.
        then: likewise.
    """
    folder = Path(listener.getsockname()).parent
    listener.setblocking(False)  # two processes may wait for the same request
    _import_all(modules)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children leave no zombies
    requests = [listener]
    if then:
        imported, importing = os.pipe()  # which ends with the imports, or with their process
        if os.fork():
            os.close(importing)
            _take_first(listener, imported)
            listener.close()
            requests = []
        else:
            os.close(imported)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # for what a module runs
            _import_all(then)
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            os.close(importing)
    while sys.stdin not in (ready := select.select([*requests, sys.stdin], [], [])[0]):
        if ready:
            _take(listener)
    shutil.rmtree(folder, ignore_errors=True)  # the owner has ended without `stop`


def _take_first(listener: socket.socket, imported: int) -> None:
    """Fork for one request, unless the imports end or the owner does before there is one."""
    ready, _, _ = select.select([listener, sys.stdin, imported], [], [])
    os.close(imported)
    if ready == [listener]:
        _take(listener)


def _take(listener: socket.socket) -> None:
    try:
        connection, _ = listener.accept()
    except BlockingIOError:  # the other process has taken it
        return
    with connection:
        _handle(connection, listener)


def _import_all(modules: Sequence[str]) -> None:
    with quick_imports():
        for module in modules:
            _import(module)
    gc.collect()
    gc.freeze()  # a collection in a child would write to, and so copy, every page


def _import(module: str) -> None:
    name, _, function = module.partition(":")
    try:
        imported = importlib.import_module(name)
        if function:
            getattr(imported, function)()
    except Exception:
        traceback.print_exc()  # a worker that needs it imports it again, and fails
    if "ray" in sys.modules:
        raise RuntimeError(f"{module} imports Ray, which must not be imported before a fork")


def _handle(connection: socket.socket, listener: socket.socket) -> None:
    message, streams, _, _ = socket.recv_fds(connection, _MESSAGE_BYTES, 3)
    if len(streams) != 3:  # the launcher was killed
        return
    try:
        child = os.fork()
    except OSError:
        traceback.print_exc()  # the launcher sees the connection end, and does without
        child = -1
    if child == 0:
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
    if child > 0:
        with contextlib.suppress(OSError):  # the launcher was killed meanwhile
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
    block_sigterm()  # as for all processes of the cluster
    middle = sys.argv.index(_THEN)
    serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:middle], sys.argv[middle + 1 :])
