"""Results that are written to object stores, over HTTP to a server of this process."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serve_app.audio.remote.server import StoreServer
from workers.manifests.destination import check_destination, destination

URL = Path("s3://results/2026/report.html")
KEY = "/results/2026/report.html"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[StoreServer]:
    with StoreServer().running() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


def interrupt(written: bytes, **options: bool) -> None:
    """Write something and be interrupted."""
    writing = destination(URL, **options)
    file = writing.__enter__()
    assert not file.exists()
    file.write_bytes(written)
    assert not writing.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None), "it goes on"


def test_what_was_written_becomes_the_object(server: StoreServer) -> None:
    with destination(URL) as file:
        assert file.name == "report.html"
        file.write_bytes(b"all of it")
        assert KEY not in server.objects
    assert server.objects[KEY] == b"all of it"
    assert not file.parent.exists()


def test_half_a_result_is_not_stored(server: StoreServer) -> None:
    server.objects[KEY] = b"the last one"
    interrupt(b"half of")
    assert server.objects[KEY] == b"the last one"


def test_work_that_goes_on_finds_and_keeps_what_there_is(server: StoreServer) -> None:
    interrupt(b"one\n", goes_on=True)
    assert server.objects[KEY] == b"one\n"
    with destination(URL, goes_on=True) as file, file.open("ab") as lines:
        lines.write(b"two\n")
    assert server.objects[KEY] == b"one\ntwo\n"


def test_what_cannot_be_stored_is_kept_here(server: StoreServer) -> None:
    server.faults[KEY] = [403]
    with (
        pytest.raises(OSError, match="what was to be there is in ") as refused,
        destination(URL) as file,
    ):
        file.write_bytes(b"days of work")
    said = re.search(r"is in (\S+)$", str(refused.value))
    assert said is not None
    assert Path(said[1]).read_bytes() == b"days of work"
    assert str(refused.value).startswith("s3://results/2026/report.html: ")


def test_a_store_that_refuses_is_told_before_the_work(server: StoreServer) -> None:
    check_destination(URL)
    assert server.objects == {}, "the trial has left nothing"
    server.faults[f"{KEY}.trial"] = [403]
    with pytest.raises(OSError, match=r"s3://results/2026/report\.html\.trial: "):
        check_destination(URL)


def test_a_file_is_written_in_its_place(tmp_path: Path) -> None:
    with destination(tmp_path / "report.html") as file:
        assert file == tmp_path / "report.html"
    check_destination(file)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        check_destination(tmp_path / "nowhere" / "report.html")
