"""Fetching Kafka's jars, from a repository on loopback that serves the real ones."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from serve_app.system.files import sha256_of
from workers.broker.jars import fetch_jars
from workers.broker.pins import JarError, read_lock

LOCK = read_lock()
FILENAMES = sorted(jar.filename for jar in LOCK.jars)


class Repository(ThreadingHTTPServer):
    """A Maven repository.

    Attributes:
        served: names of the jars it has sent whole.
        broken: jars whose bytes it changes.
        limit: after so many jars it breaks off in the middle of every further one.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {path.name: path for path in fetch_jars()}
        self.served: list[str] = []
        self.broken: set[str] = set()
        self.limit = len(self.files)


class Handler(BaseHTTPRequestHandler):
    server: Repository

    def do_GET(self) -> None:
        name = self.path.rsplit("/", 1)[-1]
        if name not in self.server.files:
            self.send_error(404)
            return
        content = self.server.files[name].read_bytes()
        if name in self.server.broken:
            content = content[:-1] + bytes([content[-1] ^ 1])
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if len(self.server.served) >= self.server.limit:
            self.wfile.write(content[: len(content) // 2])
            return
        self.wfile.write(content)
        self.server.served.append(name)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    """The repository that this machine is set up for."""
    with Repository() as server:
        config = tmp_path / "jgo.conf"
        config.write_text(f"[repositories]\nlocal = http://127.0.0.1:{server.server_port}/maven\n")
        monkeypatch.setenv("JGO_CONFIG_FILE", str(config))
        monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_all_are_fetched_once(repository: Repository, tmp_path: Path) -> None:
    jars = fetch_jars(tmp_path / "cache")
    assert [sha256_of(path) for path in jars] == [jar.sha256 for jar in LOCK.jars]
    assert sorted(repository.served) == FILENAMES
    assert fetch_jars(tmp_path / "cache") == jars
    assert len(repository.served) == len(jars)


def test_a_damaged_jar_in_the_cache_is_fetched_again(
    repository: Repository, tmp_path: Path
) -> None:
    jars = fetch_jars(tmp_path)
    repository.served.clear()
    content = jars[3].read_bytes()
    jars[3].write_bytes(b"\0" + content[1:])
    jars[7].unlink()
    fetch_jars(tmp_path)
    assert jars[3].read_bytes() == content
    assert sorted(repository.served) == sorted([jars[3].name, jars[7].name])


def test_another_jar_than_the_pinned_one_is_refused(repository: Repository, tmp_path: Path) -> None:
    bad = LOCK.jars[5]
    repository.broken.add(bad.filename)
    with pytest.raises(JarError) as caught:
        fetch_jars(tmp_path)
    assert f"{bad.coordinate} is refused" in str(caught.value)
    assert bad.sha256 in str(caught.value)
    assert not (tmp_path / bad.filename).exists()


@pytest.mark.slow
def test_an_interrupted_fetch_goes_on(repository: Repository, tmp_path: Path) -> None:
    repository.limit = 20
    with pytest.raises(JarError, match="cannot be fetched"):
        fetch_jars(tmp_path)
    complete = set(repository.served)
    assert {path.name for path in tmp_path.glob("*.jar")} == complete
    repository.limit = len(FILENAMES)
    repository.served.clear()
    fetch_jars(tmp_path)
    assert sorted(repository.served) == sorted(set(FILENAMES) - complete)


@pytest.mark.slow
def test_without_a_network_the_error_says_what_to_do(
    repository: Repository, tmp_path: Path
) -> None:
    repository.server_close()
    with pytest.raises(JarError, match=r"connect this machine to it, name a mirror .* or copy"):
        fetch_jars(tmp_path)


def test_two_processes_fetch_each_jar_once(repository: Repository, tmp_path: Path) -> None:
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-c", "from workers.broker.jars import fetch_jars; fetch_jars()"]
    processes = [subprocess.Popen(command, env=environment) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert sorted(repository.served) == FILENAMES


def test_mavens_local_repository_is_used(repository: Repository, tmp_path: Path) -> None:
    for jar in LOCK.jars[1:]:
        group, artifact, version = jar.coordinate.split(":")
        place = tmp_path / "m2" / group.replace(".", "/") / artifact / version / jar.filename
        place.parent.mkdir(parents=True)
        os.link(repository.files[jar.filename], place)
    fetch_jars(tmp_path / "cache")
    assert repository.served == [LOCK.jars[0].filename]
