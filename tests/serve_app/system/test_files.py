"""Files that are written completely or not at all."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from serve_app.system.files import atomic_path, atomic_write, sha256_of


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file, the only one in its folder."""
    path = tmp_path / "settings.json"
    path.write_text("old")
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def only(path: Path) -> str:
    """What the only file of a folder holds, which is `path`."""
    assert list(path.parent.iterdir()) == [path]
    return path.read_text()


def test_the_digest_of_a_file(file: Path) -> None:
    done = subprocess.run(["sha256sum", file], capture_output=True, text=True, check=True)
    assert sha256_of(file) == done.stdout.split()[0]


@pytest.mark.parametrize(("content", "expected"), [("grüß", "grüß"), (b"bytes", "bytes"), ("", "")])
def test_a_file_is_written_or_replaced(
    file: Path, tmp_path: Path, content: bytes | str, expected: str
) -> None:
    atomic_write(file, content)
    assert only(file) == expected
    file.unlink()
    atomic_write(file, content)
    assert only(file) == expected


def test_permissions(file: Path, tmp_path: Path) -> None:
    """Those of the file that is replaced; of a new one what the umask leaves, or fewer."""
    file.chmod(0o640)
    atomic_write(file, "new")
    assert mode(file) == 0o640
    with atomic_path(file) as temporary:
        temporary.write_text("newer")
    assert mode(file) == 0o640
    before = os.umask(0o027)
    try:
        atomic_write(tmp_path / "usual", "")
        atomic_write(tmp_path / "secret", "", mode=0o600)
    finally:
        os.umask(before)
    assert mode(tmp_path / "usual") == 0o640
    assert mode(tmp_path / "secret") == 0o600
    atomic_write(file, "secret from now on", mode=0o600)
    assert mode(file) == 0o600


def test_a_secret_is_secret_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    fsync = os.fsync

    def look(descriptor: int) -> None:
        seen.append(mode(Path(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    atomic_write(tmp_path / "secret", "x", mode=0o600)
    assert seen[0] == 0o600


def test_a_file_that_is_there_can_be_left_alone(file: Path, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        atomic_write(file, "new", overwrite=False)
    assert only(file) == "old"
    file.unlink()
    atomic_write(file, "new", overwrite=False)
    assert only(file) == "new"


def test_file_and_folder_are_on_disk_in_that_order(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is flushed before it has its name, and the folder after that."""
    seen = []

    def look(descriptor: int) -> None:
        seen.append((os.readlink(f"/proc/self/fd/{descriptor}"), file.read_text()))

    monkeypatch.setattr(os, "fsync", look)
    atomic_write(file, "new")
    (temporary, before), (folder, after) = seen
    assert Path(temporary).parent == file.parent != Path(temporary)
    assert Path(temporary).suffix == file.suffix
    assert (before, folder, after) == ("old", str(file.parent), "new")


def test_a_failed_flush_leaves_the_old_content(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        atomic_write(file, "new")
    assert only(file) == "old"


def test_a_write_that_fails_in_the_middle_leaves_the_old_content(file: Path) -> None:
    """A limit on the size of files: the kernel writes up to there, then it refuses."""
    code = """
import resource, signal, sys
from pathlib import Path
from serve_app.system.files import atomic_write
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
try:
    atomic_write(Path(sys.argv[1]), "x" * 100_000)
except OSError as error:
    print(error.strerror)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "File too large\n"
    assert only(file) == "old"


@pytest.mark.parametrize("error", [ValueError("half"), KeyboardInterrupt()])
def test_a_block_that_raises_leaves_the_old_content(file: Path, error: BaseException) -> None:
    def write_half() -> None:
        with atomic_path(file) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert only(file) == "old"


def test_a_block_that_writes_nothing_is_an_error(file: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(file):
        pass
    assert only(file) == "old"


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    folder = tmp_path / "data"

    def write_half() -> None:
        with atomic_path(folder) as temporary:
            (temporary / "inner").mkdir(parents=True)
            (temporary / "inner" / "file").write_text("half")
            raise ValueError("half")

    with pytest.raises(ValueError, match="half"):
        write_half()
    assert list(tmp_path.iterdir()) == []
    with atomic_path(folder) as temporary:
        (temporary / "inner").mkdir(parents=True)
        (temporary / "inner" / "file").write_text("whole")
        (temporary / "link").symlink_to("inner")
        assert not folder.exists()
    assert list(tmp_path.iterdir()) == [folder]
    assert (folder / "link" / "file").read_text() == "whole"


def test_a_folder_in_the_way_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "old").touch()
    with pytest.raises(OSError, match="data"):
        atomic_write(tmp_path / "data", "new")
    assert list(tmp_path.iterdir()) == [tmp_path / "data"]
