"""The fork server and its launcher, with a stand-in for Ray's worker script."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from serve_app.cluster.quick_start import launcher
from serve_app.cluster.quick_start.fork_server import SOCKET_VARIABLE, ForkServer, start_fork_server
from tests.processes import command_of

WORKER = """
import json, os, sys, time
out = dict(argv=sys.argv, cwd=os.getcwd(), mark=os.environ.get("MARK"), pid=os.getpid(),
           main=__name__, preloaded="colorsys" in sys.modules, path=sys.path[0],
           then="second_step" in sys.modules)
print("to stdout", flush=True)
with open(sys.argv[1] + ".part", "w") as file:
    json.dump(out, file)
os.rename(sys.argv[1] + ".part", sys.argv[1])
time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def worker(tmp_path: Path) -> Path:
    """The script of a worker; beside it, as in Ray, the one that the launcher falls back on."""
    (tmp_path / "setup_worker.py").write_text(
        "import sys, json\njson.dump(dict(plain=True, argv=sys.argv[1:]), open(sys.argv[2], 'w'))\n"
    )
    path = tmp_path / "default_worker.py"
    path.write_text(WORKER)
    return path


def started(*then: str) -> ForkServer:
    server = start_fork_server(["colorsys"], then)
    if server is None:
        pytest.skip("no fork server on this machine")
    return server


@pytest.fixture
def server() -> Iterator[ForkServer]:
    server = started()
    yield server
    server.stop()


@pytest.fixture
def second_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a module `second_step`, which a server can import."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    return tmp_path / "second_step.py"


def launch(address: str, *arguments: str | Path, **environment: str) -> str:
    """Run the launcher as the raylet does; its output is the worker's."""
    command = [sys.executable, launcher.__file__, *map(str, arguments)]
    return subprocess.run(
        command,
        env={**os.environ, SOCKET_VARIABLE: address, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60,
    ).stdout


def wait_for(path: Path) -> dict[str, Any]:
    until(path.exists)
    said: dict[str, Any] = json.loads(path.read_text())
    return said


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_worker_is_forked_as_if_python_had_been_started_with_it(
    server: ForkServer, worker: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.json"
    context = "--serialized-runtime-env-context={}"
    printed = launch(server.address, worker, out, "0", context, "--language=PYTHON", MARK="m")
    said = wait_for(out)
    assert said["argv"] == [str(worker), str(out), "0"]
    assert said["main"] == "__main__"
    assert said["path"] == str(tmp_path)
    assert said["cwd"] == os.getcwd()
    assert said["mark"] == "m"
    assert said["preloaded"], "the import was the server's"
    assert printed == "to stdout\n"


@pytest.mark.slow
@pytest.mark.parametrize("crash", [True, False])
def test_workers_outlive_a_server_that_dies_not_one_that_is_stopped(
    crash: bool, server: ForkServer, worker: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.json"
    with subprocess.Popen(
        [sys.executable, launcher.__file__, worker, out, "1000"],
        env={**os.environ, SOCKET_VARIABLE: server.address},
        stdout=subprocess.DEVNULL,
    ):
        process = psutil.Process(wait_for(out)["pid"])
    if crash:
        parent = psutil.Process(process.ppid())
        parent.kill()
        until(lambda: parent.status() == psutil.STATUS_ZOMBIE)  # dead before it is stopped
    server.stop()
    if crash:
        assert process.is_running()
        process.kill()
    # nobody waits for it where an earlier test has made this process adopt orphans
    until(lambda: not command_of(process))


@pytest.mark.parametrize("reason", ["no server", "dead server", "runtime environment", "language"])
def test_otherwise_the_worker_starts_in_the_plain_way(
    reason: str, server: ForkServer, worker: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.json"
    arguments = {
        "runtime environment": ['--serialized-runtime-env-context={"env_vars": {"A": "b"}}'],
        "language": ["--language=JAVA"],
    }.get(reason, [])
    address = str(tmp_path / "none") if reason == "no server" else server.address
    if reason == "dead server":
        server.stop()
    launch(address, worker, out, "0", *arguments)
    assert wait_for(out) == {"plain": True, "argv": [str(worker), str(out), "0", *arguments]}


def test_a_module_that_cannot_be_imported_is_left_to_the_worker(
    worker: Path, tmp_path: Path
) -> None:
    server = start_fork_server(["no_such_module", "colorsys"])
    assert server is not None
    launch(server.address, worker, tmp_path / "out.json", "0")
    assert wait_for(tmp_path / "out.json")["preloaded"]
    server.stop()


def test_only_the_first_worker_does_without_the_second_step(
    worker: Path, tmp_path: Path, second_step: Path
) -> None:
    gate = tmp_path / "gate"
    second_step.write_text(
        f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\n"
    )
    server = started("second_step")
    server_process = psutil.Process(server._process.pid)
    try:
        subprocess.run(
            [sys.executable, launcher.__file__, worker, tmp_path / "first.json", "1000"],
            env={**os.environ, SOCKET_VARIABLE: server.address},
            stdout=subprocess.DEVNULL,
            check=True,
            timeout=60,
        )
        first = wait_for(tmp_path / "first.json")
        assert (first["preloaded"], first["then"]) == (True, False)
        with subprocess.Popen(
            [sys.executable, launcher.__file__, worker, tmp_path / "second.json", "0"],
            env={**os.environ, SOCKET_VARIABLE: server.address},
        ) as launching:
            with pytest.raises(subprocess.TimeoutExpired):
                launching.wait(0.5)
            gate.touch()
        assert wait_for(tmp_path / "second.json")["then"]
        launch(server.address, worker, tmp_path / "third.json", "0")
        assert wait_for(tmp_path / "third.json")["then"]
        processes = [server_process, *server_process.children(recursive=True)]
        assert psutil.Process(first["pid"]) in processes
    finally:
        server.stop()
    until(lambda: not any(map(command_of, processes)))


def test_the_second_step_ends_with_stop_where_the_first_has_died() -> None:
    server = started("colorsys")
    first = psutil.Process(server._process.pid)
    until(lambda: len(first.children()) == 1)
    [second] = first.children()
    first.kill()
    until(lambda: first.status() == psutil.STATUS_ZOMBIE)
    server.stop()
    until(lambda: not command_of(second))


def test_a_second_step_that_dies_leaves_workers_to_ray(
    worker: Path, tmp_path: Path, second_step: Path
) -> None:
    second_step.write_text("import os\nos._exit(1)\n")
    server = started("second_step")
    try:
        for number in range(2):  # the first may have come before
            launch(server.address, worker, tmp_path / f"{number}.json", "0")
        assert wait_for(tmp_path / "1.json").get("plain")
    finally:
        server.stop()


def test_the_server_ends_with_its_owner(tmp_path: Path) -> None:
    code = "import time; from serve_app.cluster.quick_start import fork_server as f\n"
    code += "s = f.start_fork_server(['colorsys'])\n"
    code += "print(s._process.pid, s.address, flush=True); time.sleep(1000)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid, address = owner.stdout.readline().split()
        process = psutil.Process(int(pid))
        owner.kill()
    until(lambda: not command_of(process))
    until(lambda: not Path(address).parent.exists())
    assert not Path(address).parent.exists()


@pytest.mark.slow
def test_what_is_imported_before_the_fork_leaves_ray_and_cuda_alone() -> None:
    """Ray reads its configuration when imported; CUDA does not survive a fork."""
    code = (
        "import sys, os, threading; from serve_app.cluster.quick_start import fork_server as f\n"
        "for name in f.COMMON_MODULES: f._import(name)\n"
        "assert 'ray' not in sys.modules\n"
        "assert threading.active_count() == 1\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.nemo
@pytest.mark.slow
def test_nemo_too_leaves_ray_and_cuda_alone() -> None:
    code = (
        "import sys, threading; from serve_app.cluster.quick_start import fork_server as f\n"
        "for name in f.NEMO_MODULES: f._import(name)\n"
        "import torch\n"
        "assert 'ray' not in sys.modules\n"
        "assert threading.active_count() == 1\n"
        "assert not torch.cuda.is_initialized()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=200)
