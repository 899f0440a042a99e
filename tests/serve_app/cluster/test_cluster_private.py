"""A cluster of our own, as other users of the machine see it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from deploy.local import ROOT

pytestmark = [pytest.mark.ray, pytest.mark.slow]

NOBODY = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

#: Starts a cluster, with a worker, until standard input ends.
START = """
import sys
import ray
from serve_app.cluster import ray_cluster

address = ray_cluster.start_ray(1)
ray.get(ray.remote(lambda: None).remote())
print(address, flush=True)
sys.stdin.read()
"""

#: Runs a task on the cluster at an address.
RUN = """
import sys
import ray
from serve_app.cluster import ray_cluster

ray_cluster.connect(sys.argv[1])
print(ray.get(ray.remote(lambda: 7).remote()))
"""

#: The same on a machine that runs only the processes of standard input: other tests, which run at
#: the same time, have clusters of their own.
RUN_AMONG = (
    """
import json, sys
import psutil

given, every = set(json.load(sys.stdin)), psutil.process_iter
psutil.process_iter = lambda *a: (process for process in every(*a) if process.pid in given)
"""
    + RUN
)

#: Becomes another user, as the scripts below do. All imports are done before, for the other user
#: may be unable to read Python's files.
BECOME = """
import os

def become(uid):
    if uid != os.geteuid():
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
"""

#: What of the paths on standard input a user can list, read, connect to or write.
REACH = (
    BECOME
    + """
import json, socket, stat, sys

become(int(sys.argv[1]))
reached = []
for path in json.load(sys.stdin):
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            os.listdir(path)
        elif stat.S_ISSOCK(mode):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)
        else:
            open(path).close()
        reached.append(path)
    except OSError:
        pass
print(json.dumps(reached))
"""
)

#: Calls everything that Ray has at each port of standard input, and gives the ways in which it
#: answers. With a token, it makes one harmless call only.
CALL = (
    BECOME
    + """
import encodings.idna, http.client, importlib, json, pkgutil, sys
import grpc, grpc._channel
import ray.core.generated

methods = {f"/ray.rpc.ObjectManagerService/{name}" for name in ("Push", "Pull")}
for module in pkgutil.iter_modules(ray.core.generated.__path__):
    if module.name.endswith("_pb2"):
        made = importlib.import_module(f"ray.core.generated.{module.name}").DESCRIPTOR
        for service in made.services_by_name.values():
            methods |= {f"/{service.full_name}/{method.name}" for method in service.methods}
token = os.environ.get("TOKEN")
if token:
    methods = {"/ray.rpc.NodeInfoGcsService/GetAllNodeInfo"}
become(int(sys.argv[1]))

def call(channel, method):
    metadata = [("authorization", f"Bearer {token}")] if token else []
    try:
        channel.unary_unary(method)(b"", timeout=10, metadata=metadata)
    except grpc.RpcError as error:
        return error.code().name
    return "OK"

def get(host, port, path):
    connection = http.client.HTTPConnection(host, port, timeout=10)
    connection.request("GET", path)
    return connection.getresponse().status

def answers(host, port):
    try:
        return {get(host, port, path) for path in ("/", "/api/job_agent/jobs/", "/metrics")}
    except http.client.HTTPException:
        with grpc.insecure_channel(f"{host}:{port}") as channel:
            return {call(channel, method) for method in methods}

print(json.dumps([sorted(answers(host, port)) for host, port in json.load(sys.stdin)]))
"""
)

#: Two users in turn try to connect without a token.
STRANGERS = (
    BECOME
    + """
import sys
import ray

for uid in (os.geteuid(), int(sys.argv[2])):
    become(uid)
    try:
        ray.init(address=sys.argv[1], log_to_driver=False)
    except ConnectionError as error:
        print("refused", uid)
"""
)


class Started(NamedTuple):
    """A running cluster.

    Attributes:
        address: of it.
        pid: of the process that started it.
        folder: has the home folder and TMPDIR of that process, and is open to everybody, so that
            only what the cluster does can keep them out.
    """

    address: str
    pid: int
    folder: Path

    @property
    def token(self) -> Path:
        return self.folder / "home" / ".ray" / "auth_token"


def environment(home: Path, **more: str) -> dict[str, str]:
    """Of a process whose user has set nothing for Ray."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    return {**kept, "HOME": str(home), **more}


def run(script: str, *arguments: object, given: Any = None, **options: Any) -> str:
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=ROOT,
        input=json.dumps(given),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=120,
        **options,
    )
    return done.stdout


@pytest.fixture(scope="module")
def started() -> Iterator[Started]:
    folder = Path(tempfile.mkdtemp(prefix="c", dir="/tmp"))  # short, for the sockets
    home, temporary = folder / "home", folder / "t"
    home.mkdir()
    temporary.mkdir()
    for path, mode in ((folder, 0o755), (home, 0o755), (temporary, 0o1777)):
        path.chmod(mode)
    with subprocess.Popen(
        [sys.executable, "-c", START],
        cwd=ROOT,
        env=environment(home, TMPDIR=str(temporary)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address, "the cluster does not start"
        yield Started(address, process.pid, folder)
        process.stdin.close()
        process.wait(60)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def home(started: Started) -> Path:
    """Of a user without a token."""
    path = started.folder / "stranger"
    path.mkdir()
    return path


def ports(started: Started) -> list[tuple[str, int]]:
    """Where the processes of the cluster listen."""
    root = psutil.Process(started.pid)
    return [
        (connection.laddr.ip.replace("::", "127.0.0.1"), connection.laddr.port)
        for process in [root, *root.children(recursive=True)]
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]


@needs_root
def test_another_user_reaches_no_file_and_no_socket(started: Started) -> None:
    made = [
        path
        for folder in ("home", "t")
        for path in (started.folder / folder).rglob("*")
        if not path.is_symlink()
    ]
    assert started.token in made
    assert {path.name for path in made if path.is_socket()} == {"raylet", "plasma_store"}
    assert any(path.suffix == ".log" for path in made)
    paths = [str(path) for path in made]
    assert json.loads(run(REACH, os.geteuid(), given=paths)) == paths
    assert json.loads(run(REACH, NOBODY, given=paths)) == []


@pytest.mark.parametrize("uid", [os.geteuid(), pytest.param(NOBODY, marks=needs_root)])
def test_without_the_token_no_port_answers(started: Started, home: Path, uid: int) -> None:
    listening = ports(started)
    assert len(listening) >= 5
    said = json.loads(run(CALL, uid, given=listening, env=environment(home)))
    for port, answers in zip(listening, said, strict=True):
        # A server knows only some of the methods.
        assert set(answers) - {"UNIMPLEMENTED"} in ({"UNAUTHENTICATED"}, {401}), port


#: Connects as Ray does, given the address itself.
PLAIN = """
import sys
import ray
ray.init(address=sys.argv[1], log_to_driver=False)
"""


def test_ray_itself_sends_the_token_only_to_an_address_that_it_finds(started: Started) -> None:
    """`ray_adapter.send_token` can go when this fails."""
    once = environment(started.folder / "home", RAY_NUM_REDIS_GET_RETRIES="2")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        run(PLAIN, started.address, env=once, stderr=subprocess.PIPE)
    assert "InvalidAuthToken" in caught.value.stderr


def test_with_the_token_the_same_calls_work(started: Started, home: Path) -> None:
    host, port = started.address.split(":")
    token = started.token.read_text()
    told = environment(home, TOKEN=token)
    assert json.loads(run(CALL, os.geteuid(), given=[(host, int(port))], env=told)) == [["OK"]]
    wrong = environment(home, TOKEN="0" * 64)
    said = json.loads(run(CALL, os.geteuid(), given=[(host, int(port))], env=wrong))
    assert said == [["UNAUTHENTICATED"]]


def test_without_the_token_nobody_connects(started: Started, home: Path) -> None:
    other = NOBODY if os.geteuid() == 0 else os.geteuid()
    once = environment(home, RAY_NUM_REDIS_GET_RETRIES="2")
    said = run(STRANGERS, started.address, other, env=once, stderr=subprocess.STDOUT)
    assert f"refused {os.geteuid()}" in said
    assert f"refused {other}" in said
    assert "InvalidAuthToken" in said


def test_its_user_connects(started: Started) -> None:
    told = environment(started.folder / "home")
    assert run(RUN, started.address, env=told).strip() == "7"


def test_its_user_finds_it_and_nothing_of_others(started: Started) -> None:
    """The address "auto" would otherwise send the token to a process that is named like Ray's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        decoy = subprocess.Popen(
            ["raylet", "-c", "read line", *(f"--gcs-address=127.0.0.{n}:{port}" for n in range(9))],
            executable="/bin/sh",
            stdin=subprocess.PIPE,
            user=NOBODY if os.geteuid() == 0 else None,
        )
        try:
            root = psutil.Process(started.pid)
            seen = [decoy.pid, *(child.pid for child in root.children(recursive=True))]
            told = environment(started.folder / "home")
            assert run(RUN_AMONG, "auto", given=seen, env=told).strip() == "7"
            told["RAY_ADDRESS"] = "auto"
            assert run(RUN_AMONG, "auto", given=seen, env=told).strip() == "7"
        finally:
            decoy.communicate()
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_a_token_that_others_could_read_is_not_used(started: Started) -> None:
    started.token.chmod(0o644)
    try:
        with pytest.raises(subprocess.CalledProcessError) as caught:
            run(
                RUN,
                started.address,
                env=environment(started.folder / "home"),
                stderr=subprocess.PIPE,
            )
        last = caught.value.stderr.splitlines()[-1]
        assert last.startswith(f"ConnectionError: {started.token} is open to others")
        with pytest.raises(subprocess.CalledProcessError) as caught:
            run(START, env=environment(started.folder / "home"), stderr=subprocess.PIPE)
        last = caught.value.stderr.splitlines()[-1]
        assert last.startswith(
            f"serve_app.cluster.ray_cluster.ClusterError: {started.token} is open to others"
        )
    finally:
        started.token.chmod(0o600)
