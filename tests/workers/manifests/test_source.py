"""A manifest is read whatever it is stored in; what is none is one error."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pyarrow
import pytest

from schemas.manifest_text import ManifestFileError
from tests.serve_app.audio.remote.server import StoreServer
from workers.manifests.files import manifest_sha256
from workers.manifests.manifest_file import read_manifest
from workers.manifests.shards import audio_folders
from workers.manifests.source import (
    folder_of,
    is_stream,
    manifest_text,
)

TEXT = "".join(
    f'{{"id": "{name}", "audio_filepath": "a.wav", "text": "naïve\u2028ключ"}}\r\n'
    for name in ("first", "second")
)
PLAIN = TEXT.encode()

STORED: dict[str, Callable[[], bytes]] = {
    "utf-8": lambda: PLAIN,
    "utf-8 with a mark": lambda: TEXT.encode("utf-8-sig"),
    "utf-16": lambda: TEXT.encode("utf-16"),
    "utf-16-le without a mark": lambda: TEXT.encode("utf-16-le"),
    "utf-16-be without a mark": lambda: TEXT.encode("utf-16-be"),
    "utf-32": lambda: TEXT.encode("utf-32"),
    "gzip": lambda: gzip.compress(PLAIN),
    "gzip in two members": lambda: gzip.compress(PLAIN[:40]) + gzip.compress(PLAIN[40:]),
    "bzip2": lambda: bz2.compress(PLAIN),
    "xz": lambda: lzma.compress(PLAIN),
    "zstd": lambda: pyarrow.compress(PLAIN, codec="zstd", asbytes=True),
    "zstd of utf-16": lambda: pyarrow.compress(TEXT.encode("utf-16"), codec="zstd", asbytes=True),
}


@pytest.mark.parametrize("stored", STORED)
def test_encodings_and_compressions_are_recognised(tmp_path: Path, stored: str) -> None:
    path = tmp_path / "manifest"
    path.write_bytes(STORED[stored]())
    lines = list(read_manifest(path))
    assert [line.record and line.record.id for line in lines] == ["first", "second"]
    assert all(line.record and line.record.text == "naïve\u2028ключ" for line in lines)
    assert b"\n".join(line.data for line in lines) + b"\n" == PLAIN.replace(b"\r", b"")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (gzip.compress(PLAIN, mtime=0)[:-9], "is damaged or cut short"),
        (lzma.compress(PLAIN)[:-9], "is damaged or cut short"),
        (bz2.compress(PLAIN)[:-9], "is damaged or cut short"),
        (STORED["zstd"]()[:-9], "is damaged or cut short"),
        (TEXT.encode("utf-16")[:-1], "is not the text that it begins as"),
        (b"RIFF\x24\x00\x00\x00WAVE", "is not text"),
        (b'\n [{"audio_filepath": "a.wav"}]\n', "is a JSON array"),
    ],
    ids=["gzip", "xz", "bzip2", "zstd", "utf-16", "wav", "array"],
)
def test_what_is_no_manifest_is_one_error(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "manifest"
    path.write_bytes(content)
    with pytest.raises(ManifestFileError, match=reason) as caught:
        list(manifest_text(path))
    assert str(caught.value).startswith(str(path))


def test_a_pipe_is_read_as_often_as_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    packed = gzip.compress(PLAIN)
    writer = threading.Thread(target=path.write_bytes, args=[packed])
    writer.start()
    assert [line.id for line in read_manifest(path)] == ["first", "second"]
    writer.join()
    assert [line.id for line in read_manifest(path)] == ["first", "second"]
    assert manifest_sha256(path) == sha256(packed).hexdigest()
    monkeypatch.chdir(tmp_path)
    assert is_stream(path)
    assert folder_of(path) == tmp_path


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_standard_input(name: str, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from workers.manifests.source import *;"
        "path = Path(sys.argv[1]);"
        "print(len([*manifest_text(path), *manifest_text(path)]), name_of(path), folder_of(path))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, name], input=PLAIN, capture_output=True, cwd=tmp_path
    )
    assert done.stdout.decode().split() == ["4", "stdin", str(tmp_path)], done.stderr
    again = tmp_path / "again.jsonl"
    again.write_bytes(PLAIN)
    with again.open("rb") as file:
        done = subprocess.run(
            [sys.executable, "-c", script, name], stdin=file, capture_output=True, cwd=tmp_path
        )
    assert done.stdout.decode().split() == ["4", "stdin", str(tmp_path)], done.stderr


def test_the_folder_of_a_file_is_where_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "m.jsonl").write_bytes(PLAIN)
    link = tmp_path / "m.jsonl"
    link.symlink_to("real/m.jsonl")
    assert folder_of(link) == tmp_path


def test_a_manifest_in_an_object_store(monkeypatch: pytest.MonkeyPatch) -> None:
    with StoreServer().running() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        server.objects["/lists/2026/calls.jsonl.gz"] = gzip.compress(PLAIN)
        manifest = Path("s3://lists/2026/calls.jsonl.gz")
        assert [line.id for line in read_manifest(manifest)] == ["first", "second"]
        assert manifest_sha256(manifest) == sha256(gzip.compress(PLAIN)).hexdigest()
        assert len(server.asked) == 1
        assert audio_folders(manifest) == ["s3://lists/2026"]
        server.objects |= {f"/lists/{n}.jsonl": PLAIN for n in range(2)}
        for several in ("s3://lists/{0..1}.jsonl", "s3://lists/0.jsonl,s3://lists/1.jsonl"):
            assert len(list(read_manifest(Path(several)))) == 4
        absent = Path("s3://lists/2026/absent.jsonl")
        with pytest.raises(FileNotFoundError, match=r"s3://lists/2026/absent\.jsonl: no such obj"):
            list(read_manifest(absent))
