"""Files are found under the roots and nowhere else, and opening one never blocks."""

from __future__ import annotations

import os
import stat
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from schemas.failures import ErrorCode
from schemas.settings import AudioSettings
from serve_app.audio import AudioError, AudioLoader
from serve_app.audio.sources import FileSource, split_scheme
from tests.serve_app.audio.conftest import Refused
from tests.serve_app.audio.sounds import sweep, write

pytestmark = pytest.mark.timeout(60)  # what blocks must fail soon


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A good file beside the root."""
    return write(tmp_path / "secret.wav", sweep(1))


def test_relative_absolute_and_url_name_the_same_file(loader: AudioLoader, root: Path) -> None:
    (root / "a b").mkdir()
    file = write(root / "a b" / "clip.wav", sweep(1))
    clip = loader.load("a b/clip.wav")
    for name in (str(file), f"{root}/../root/a b/clip.wav", f"file://{root}/a%20b/clip.wav"):
        assert np.array_equal(loader.load(name), clip)


def test_roots_are_searched_in_order(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    for folder in (first, second):
        folder.mkdir()
    write(first / "both.wav", sweep(1))
    write(second / "both.wav", sweep(2))
    write(second / "one.wav", sweep(3))
    loader = AudioLoader(AudioSettings(roots=[str(first), str(second)]))
    assert len(loader.load("both.wav")) == 16_000
    assert len(loader.load("one.wav")) == 48_000


def test_a_root_may_be_a_link_and_links_may_stay_inside(tmp_path: Path, root: Path) -> None:
    write(root / "clip.wav", sweep(1))
    (root / "alias.wav").symlink_to("clip.wav")
    link = tmp_path / "link"
    link.symlink_to(root)
    loader = AudioLoader(AudioSettings(roots=[str(link)]))
    for name in ("clip.wav", "alias.wav", f"{link}/clip.wav", f"{root}/alias.wav"):
        assert len(loader.load(name)) == 16_000


def test_nothing_outside_the_roots_is_read(refused: Refused, root: Path, outside: Path) -> None:
    (root / "file.wav").symlink_to(outside)
    (root / "chain.wav").symlink_to("file.wav")
    (root / "folder").symlink_to(outside.parent)
    for name in (
        str(outside),
        "../secret.wav",
        f"{root}/../secret.wav",
        "file.wav",
        "chain.wav",
        "folder/secret.wav",
        f"file://{outside}",
        "file://elsewhere/secret.wav",
    ):
        refused(ErrorCode.AUDIO_OUTSIDE_ROOTS, name)


def test_a_sibling_whose_name_begins_like_the_root_is_outside(refused: Refused, root: Path) -> None:
    sibling = root.with_name("root2")
    sibling.mkdir()
    refused(ErrorCode.AUDIO_OUTSIDE_ROOTS, write(sibling / "clip.wav", sweep(1)))


def test_nobody_learns_which_files_exist_outside(refused: Refused, outside: Path) -> None:
    there = refused(ErrorCode.AUDIO_OUTSIDE_ROOTS, "../secret.wav")
    not_there = refused(ErrorCode.AUDIO_OUTSIDE_ROOTS, "../absent.wav")
    assert there.message.removeprefix("../secret.wav") == not_there.message.removeprefix(
        "../absent.wav"
    )
    refused(ErrorCode.AUDIO_OUTSIDE_ROOTS, outside.with_name("absent.wav"))


@pytest.mark.parametrize("name", ["https://example.org/a.wav", "s3://bucket/a.wav", "S3://b/a"])
def test_urls_need_a_source(refused: Refused, name: str) -> None:
    assert "://" in refused(ErrorCode.AUDIO_OUTSIDE_ROOTS, name).message


def test_what_is_no_url_is_a_path() -> None:
    assert split_scheme("a:b/c.wav") == ("file", "a:b/c.wav")
    assert split_scheme("/x//y.wav") == ("file", "/x//y.wav")
    assert split_scheme("FILE:///x/%C3%A9.wav") == ("file", "/x/é.wav")


def test_missing_files(refused: Refused, root: Path) -> None:
    write(root / "clip.wav", sweep(1))
    (root / "dangling.wav").symlink_to("nowhere.wav")
    for name in ("absent.wav", root / "absent.wav", "clip.wav/inner.wav", "dangling.wav"):
        refused(ErrorCode.AUDIO_MISSING, name)
    refused(ErrorCode.AUDIO_MISSING, "long" * 100)
    refused(ErrorCode.AUDIO_MISSING, "nul\0.wav")
    refused(ErrorCode.AUDIO_MISSING, "\ud800.wav")


def test_only_regular_files_are_opened_and_none_blocks(refused: Refused, root: Path) -> None:
    os.mkfifo(root / "fifo.wav")
    (root / "folder.wav").mkdir()
    (root / "loop.wav").symlink_to("loop.wav")
    os.mknod(root / "socket.wav", stat.S_IFSOCK | 0o600)
    for name in ("fifo.wav", "folder.wav", "socket.wav", "loop.wav", ".", root):
        refused(ErrorCode.AUDIO_UNREADABLE, name)
    dev = AudioLoader(AudioSettings(roots=["/dev"]))
    refused(ErrorCode.AUDIO_UNREADABLE, "zero", by=dev)
    refused(ErrorCode.AUDIO_UNREADABLE, "/dev/tty", by=dev)


@contextmanager
def unprivileged() -> Iterator[None]:
    """Without root's right to read everything, where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_permissions(refused: Refused, root: Path) -> None:
    file = write(root / "clip.wav", sweep(1))
    file.chmod(0)
    with unprivileged():
        assert "ermission" in refused(ErrorCode.AUDIO_UNREADABLE, "clip.wav").message


def test_a_vanished_root_is_an_outage(refused: Refused, root: Path) -> None:
    refused(ErrorCode.AUDIO_MISSING, "clip.wav")
    root.rename(root.with_name("away"))
    refused(ErrorCode.AUDIO_IO, "clip.wav")
    refused(ErrorCode.AUDIO_OUTSIDE_ROOTS, "../clip.wav")


def test_a_link_that_is_swapped_meanwhile_never_leads_outside(
    loader: AudioLoader, root: Path, outside: Path
) -> None:
    write(root / "good.wav", sweep(2))
    link, spare, stop = root / "clip.wav", root / "spare", threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for target in (outside, root / "good.wav"):
                spare.symlink_to(target)
                spare.rename(link)

    swapper = threading.Thread(target=swap)
    link.symlink_to(outside)
    swapper.start()
    seen: Counter[object] = Counter()
    try:
        while seen.total() < 300 or len(seen) < 2:
            try:
                seen[len(loader.load("clip.wav"))] += 1
            except AudioError as error:
                seen[error.code] += 1
    finally:
        stop.set()
        swapper.join()
    assert set(seen) == {32_000, ErrorCode.AUDIO_OUTSIDE_ROOTS}


def test_the_descriptor_is_handed_over_at_its_start(root: Path) -> None:
    file = write(root / "clip.wav", sweep(1))
    before = set(os.listdir("/proc/self/fd"))
    fd = FileSource([str(root)], 1 << 20).open("clip.wav")
    try:
        assert os.read(fd, 4) == b"RIFF"
        assert os.path.samestat(os.fstat(fd), file.stat())
    finally:
        os.close(fd)
    assert set(os.listdir("/proc/self/fd")) == before
