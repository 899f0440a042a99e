from __future__ import annotations

import gzip
import hashlib
import os
import tarfile
from pathlib import Path

import pytest

from serve_app.engines.errors import EngineError
from serve_app.engines.nemo import unpacking
from serve_app.engines.nemo.unpacking import unpack
from tests.serve_app.engines.nemo.archives import TarMode, member, plain_tar, tar_of

MEMBERS = {"./model_config.yaml": b"a: 1\n", "./sub/weights": bytes(5_000)}


@pytest.fixture
def nemo(tmp_path: Path) -> Path:
    return tmp_path / "model.nemo"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir()
    return made


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_what_is_unpacked_is_what_is_hashed(nemo: Path, folder: Path, mode: TarMode) -> None:
    nemo.write_bytes(plain_tar(MEMBERS, mode))
    digest, members = unpack(nemo, folder)
    assert digest == hashlib.sha256(nemo.read_bytes()).hexdigest()
    assert {name: file.read_bytes() for name, file in members.items()} == {
        "model_config.yaml": b"a: 1\n",
        "sub/weights": bytes(5_000),
    }
    assert set(members.values()) == set(folder.iterdir())


def test_headers_as_nemo_writes_them(nemo: Path, folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    long = "x" * 150
    (source / long).write_bytes(b"1")
    os.utime(source / long, (1.5, 1.5))  # a time that needs a header of its own
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        with tarfile.open(nemo, "w", format=form) as tar:
            tar.add(source, arcname=".")
        _, members = unpack(nemo, folder)
        assert members.pop(long).read_bytes() == b"1"
        assert not members
        for file in folder.iterdir():
            file.unlink()


def test_zeros_after_the_end_are_no_fault(nemo: Path, folder: Path) -> None:
    for data in (plain_tar(MEMBERS), plain_tar(MEMBERS, "w:gz")):
        nemo.write_bytes(data + bytes(100_000))
        digest, members = unpack(nemo, folder)
        assert digest == hashlib.sha256(nemo.read_bytes()).hexdigest()
        for file in members.values():
            file.unlink()


def test_a_file_that_is_none_is_not_waited_for(tmp_path: Path, folder: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(EngineError, match="not a regular file"):
        unpack(tmp_path / "pipe", folder)


def test_sizes_are_capped(nemo: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nemo.write_bytes(plain_tar(MEMBERS))
    monkeypatch.setattr(unpacking, "MAX_BYTES", 5_000)
    with pytest.raises(EngineError, match="larger than"):
        unpack(nemo, folder)
    nemo.write_bytes(plain_tar(MEMBERS, "w:gz"))
    with pytest.raises(EngineError, match="unpacks to more"):
        unpack(nemo, folder)


def test_a_bomb_is_not_unpacked(nemo: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "SMALL_BYTES", 100_000)
    nemo.write_bytes(plain_tar({**MEMBERS, "./zeros": bytes(10 << 20)}, "w:gz"))
    with pytest.raises(EngineError, match="unpacks to more"):
        unpack(nemo, folder)
    assert sum(file.stat().st_size for file in folder.iterdir()) < 100_000
    for file in folder.iterdir():
        file.unlink()
    # after its end too
    nemo.write_bytes(gzip.compress(plain_tar(MEMBERS) + bytes(10 << 20)))
    with pytest.raises(EngineError, match="data after the end"):
        unpack(nemo, folder)


def test_a_negative_size(nemo: Path, folder: Path) -> None:
    data = bytearray(tar_of([member("x", b"y" * 600), member("z")]))
    data[124:136] = b"\xff" * 11 + b"\x00"  # base 256, negative
    data[148:156] = b" " * 8
    data[148:156] = f"{sum(data[:512]):06o}\0 ".encode()
    nemo.write_bytes(data)
    with pytest.raises(EngineError):
        unpack(nemo, folder)


def test_an_empty_file(nemo: Path, folder: Path) -> None:
    nemo.write_bytes(b"")
    with pytest.raises(EngineError, match="cannot be read"):
        unpack(nemo, folder)


def test_a_file_that_is_not_there_or_a_folder(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        unpack(tmp_path / "absent", folder)
    with pytest.raises(IsADirectoryError):
        unpack(tmp_path, folder)
