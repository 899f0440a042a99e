"""The one door to audio, as the Router uses it."""

from __future__ import annotations

import os
import resource
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from schemas.failures import ErrorCode
from schemas.settings import AudioSettings
from serve_app.audio import AudioError, AudioLoader
from tests.serve_app.audio.conftest import Refused
from tests.serve_app.audio.sounds import sweep, write


def test_too_many_bytes(refused: Refused, root: Path) -> None:
    write(root / "clip.wav", sweep(1))
    size = (root / "clip.wav").stat().st_size
    exact = AudioLoader(AudioSettings(roots=[str(root)], max_bytes=size))
    assert len(exact.load("clip.wav")) == 16_000
    smaller = AudioLoader(AudioSettings(roots=[str(root)], max_bytes=size - 1))
    assert f"{size} bytes" in refused(ErrorCode.AUDIO_TOO_LARGE, "clip.wav", by=smaller).message


def test_a_sparse_file_of_3_gb(refused: Refused, root: Path) -> None:
    with (root / "clip.wav").open("wb") as file:
        file.truncate(3 << 30)
    refused(ErrorCode.AUDIO_TOO_LARGE, "clip.wav")
    patient = AudioLoader(AudioSettings(roots=[str(root)], max_bytes=4 << 30))
    refused(ErrorCode.AUDIO_UNDECODABLE, "clip.wav", by=patient)


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_trouble_of_the_system_is_no_fault_of_the_file(refused: Refused, root: Path) -> None:
    write(root / "clip.wav", sweep(1))
    with no_descriptor_left():
        refused(ErrorCode.AUDIO_IO, "clip.wav")
    memory = AudioLoader(AudioSettings(roots=["/proc/self"]))  # its first page cannot be read
    refused(ErrorCode.AUDIO_IO, "mem", by=memory)


def test_a_source_of_your_own(refused: Refused, root: Path) -> None:
    """What an object store would do: hand over its bytes in an unnamed file."""
    objects = {"store://bucket/clip": write(root / "clip", sweep(2), container="FLAC").read_bytes()}

    class Store:
        def open(self, location: str) -> int:
            if location not in objects:
                raise AudioError(ErrorCode.AUDIO_MISSING, "no such object")
            fd = os.memfd_create("object")
            os.pwrite(fd, objects[location], 0)
            return fd

    settings = AudioSettings(roots=[str(root)], max_bytes=100_000)
    loader = AudioLoader(settings, sources={"store": Store()})
    assert np.array_equal(loader.load("store://bucket/clip"), loader.load("clip"))
    refused(ErrorCode.AUDIO_MISSING, "store://bucket/other", by=loader)
    objects["store://bucket/big"] = bytes(100_001)
    refused(ErrorCode.AUDIO_TOO_LARGE, "store://bucket/big", by=loader)


def test_threads_share_a_loader(loader: AudioLoader, root: Path) -> None:
    names = []
    for container in ("WAV", "FLAC", "OGG", "MP3"):
        for seconds in (1, 2, 3):
            name = f"{container}-{seconds}"
            write(root / name, sweep(seconds, 8_000), 8_000, container)
            names.append(name)
    (root / "bad").write_bytes(b"no audio")
    expected = {name: loader.load(name) for name in names}

    def load(name: str) -> bool:
        try:
            return np.array_equal(loader.load(name), expected[name])
        except AudioError as error:
            return name == "bad" and error.code is ErrorCode.AUDIO_UNDECODABLE

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(load, [*names, "bad"] * 20))


def test_no_descriptor_is_left_behind(loader: AudioLoader, root: Path) -> None:
    write(root / "good", sweep(1))
    (root / "text").write_bytes(b"no audio")
    (root / "riff").write_bytes((root / "good").read_bytes()[:30])
    (root / "flac").write_bytes(b"fLaC" + bytes(100))
    (root / "folder").mkdir()
    before = os.listdir("/proc/self/fd")
    for name in ("good", "text", "riff", "flac", "folder", "absent", "../good", "x://y"):
        for _ in range(5):
            try:
                loader.load(name, duration=0.5)
            except AudioError:
                assert name != "good"
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG", "MP3"])
def test_damage_of_any_kind_gives_audio_or_a_typed_error(
    loader: AudioLoader, root: Path, container: str
) -> None:
    random = np.random.default_rng(11)
    good = write(root / "good", sweep(1), container=container).read_bytes()
    outcomes: Counter[object] = Counter()
    for _ in range(150):
        data = bytearray(good)
        at = int(random.integers(0, min(len(data), int(random.choice([64, 512, len(data)])))))
        length = int(random.integers(1, 64))
        match random.integers(0, 4):
            case 0:
                data[at : at + length] = random.bytes(length)
            case 1:
                del data[at : at + length]
            case 2:
                data[at:at] = random.bytes(length)
            case 3:
                del data[at:]
        (root / "bad").write_bytes(data)
        try:
            clip = loader.load("bad")
        except AudioError as error:
            outcomes[error.code] += 1
        else:
            assert clip.dtype == np.float32
            assert 160 <= len(clip) <= 60 * 16_000
            assert np.abs(clip).max() <= 1
            outcomes["loaded"] += 1
    assert set(outcomes) <= {
        "loaded",
        ErrorCode.AUDIO_UNDECODABLE,
        ErrorCode.AUDIO_UNSUPPORTED,
        ErrorCode.AUDIO_EMPTY,
        ErrorCode.AUDIO_TOO_LONG,
    }
    assert outcomes[ErrorCode.AUDIO_UNDECODABLE] > 10
