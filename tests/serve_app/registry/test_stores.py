from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import Any

import obstore
import pytest

from serve_app.registry.aliases import refuse
from serve_app.registry.holds import Lease
from serve_app.registry.local_store import LocalStore
from serve_app.registry.object_store import ObjectStore
from serve_app.registry.store import Store, exists, open_store


def test_files_are_created_once(store: Store) -> None:
    store.create("a/b/1", b"one")
    with pytest.raises(FileExistsError):
        store.create("a/b/1", b"two")
    assert store.read("a/b/1") == b"one"
    assert exists(store, "a/b/1")
    assert not exists(store, "a/b/2")


def test_what_is_added_to_does_not_come_into_being_again(tmp_path: Path) -> None:
    folder = tmp_path / "registry"
    store = LocalStore(folder)
    store.create("m/1/model.json", b"{}")
    lease = Lease(store, "m/1")
    lease.renew()
    folder.rename(tmp_path / "away")  # as a disk is unmounted
    with pytest.raises(FileNotFoundError):
        lease.renew()
    with pytest.raises(FileNotFoundError):
        refuse(store, "m", "production", 1, why="broken", by="t")
    assert not folder.exists()


def test_of_many_that_create_a_file_one_does(store: Store) -> None:
    created: list[int] = []

    def create(number: int) -> None:
        for key in range(20):
            try:
                store.create(f"k/{key}", b"%d" % number)
            except FileExistsError:
                continue
            created.append(key)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(created) == list(range(20))


def test_keys_and_removal(store: Store) -> None:
    for key in ("b/2", "a/c/1", "a/1", "ab/1"):
        store.create(key, b"")
    assert store.keys("") == ["a/1", "a/c/1", "ab/1", "b/2"]
    assert store.keys("a") == ["a/1", "a/c/1"]
    assert store.keys("nothing") == []
    store.remove("a/1")
    store.remove("a/1")
    assert store.keys("a") == ["a/c/1"]


def test_large_files(store: Store, tmp_path: Path) -> None:
    content = bytes(range(256)) * 200_000
    (tmp_path / "in").write_bytes(content)
    store.add("m/1/model", tmp_path / "in")
    store.fetch("m/1/model", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == content
    assert (tmp_path / "in").exists()
    with pytest.raises(FileNotFoundError):
        store.fetch("m/1/nothing", tmp_path / "out2")


def test_urls(tmp_path: Path) -> None:
    assert open_store(tmp_path).url == str(tmp_path)
    assert open_store(f"file://{tmp_path}").path("a/b") == tmp_path / "a/b"
    with pytest.raises(ValueError, match="neither a path nor a URL with s3"):
        open_store("ftp://host/models")
    with pytest.raises(ValueError, match="s3://"):
        open_store("s3://")


def test_a_store_without_conditional_writes_is_only_read(monkeypatch: pytest.MonkeyPatch) -> None:
    real = obstore.put

    def imitation(*args: Any, **more: Any) -> Any:
        return real(*args, **{**more, "mode": "overwrite"})

    monkeypatch.setattr(obstore, "put", imitation)
    store = ObjectStore("memory:///")
    with pytest.raises(OSError, match="can only be read"):
        store.create("a", b"")
    assert store.keys("") == []


@pytest.mark.slow
def test_a_store_that_takes_requests_and_does_not_answer_is_given_up_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
            "AWS_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        store, begin = ObjectStore("s3://bucket/models"), time.monotonic()
        with pytest.raises(OSError, match=r"s3://bucket/models/medical/1/model\.json: "):
            store.read("medical/1/model.json")
        assert time.monotonic() - begin < 60  # not the three minutes of the library
