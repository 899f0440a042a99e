"""Files in tar archives are read where they are."""

from __future__ import annotations

import io
import os
import tarfile
import unicodedata
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal
from unittest.mock import Mock

import numpy as np
import pytest

from schemas.failures import ErrorCode
from schemas.settings import AudioSettings
from serve_app.audio import AudioLoader, archives
from tests.serve_app.audio.conftest import Refused
from tests.serve_app.audio.media_files import encode
from tests.serve_app.audio.sounds import sweep, write


def pack(archive: Path, files: Mapping[str, Path | bytes], **options: object) -> Path:
    with tarfile.open(archive, "w", **options) as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            if isinstance(content, Path):
                tar.add(content, arcname=name)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return archive


@pytest.fixture
def tarred(root: Path) -> Path:
    """Three files, as `tar` and NeMo's script name them."""
    for seconds in (1, 2, 3):
        write(root / f"{seconds}.wav", sweep(seconds))
    files = {"1.wav": root / "1.wav", "./deep/2.wav": root / "2.wav", "ä" * 120: root / "3.wav"}
    return pack(root / "audio_0.tar", files)


def test_a_file_is_named_as_if_the_archive_were_a_folder(
    loader: AudioLoader, root: Path, tarred: Path
) -> None:
    for seconds, name in ((1, "1.wav"), (2, "deep/2.wav"), (3, "ä" * 120)):
        loose = loader.load(f"{seconds}.wav")
        for path in (f"audio_0.tar/{name}", f"{tarred}/{name}", f"{tarred}/./{name}"):
            assert np.array_equal(loader.load(path), loose)
    segment = loader.load("audio_0.tar/deep/2.wav", offset=0.5, duration=1.0)
    assert np.array_equal(segment, loader.load("2.wav", offset=0.5, duration=1.0))


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_each_format_of_tar_is_read(loader: AudioLoader, root: Path, format: int) -> None:
    name = "a/" * 60 + "clip.wav"
    pack(root / "x.tar", {name: write(root / "clip.wav", sweep(1))}, format=format)
    assert np.array_equal(loader.load(f"x.tar/{name}"), loader.load("clip.wav"))


def test_compressed_audio_is_read_too(loader: AudioLoader, root: Path) -> None:
    pack(root / "x.tar", {"clip.m4a": encode(root / "clip.m4a", sweep(1), "mp4", "aac")})
    assert np.array_equal(loader.load("x.tar/clip.m4a"), loader.load("clip.m4a"))


def test_nemo_names_the_segments_of_one_file_with_a_suffix(
    loader: AudioLoader, tarred: Path
) -> None:
    whole = loader.load("audio_0.tar/1.wav")
    part = loader.load("audio_0.tar/1-sub12.wav", offset=0.25, duration=0.5)
    assert np.array_equal(part, whole[4000:12000])


def test_a_link_in_the_archive_is_the_file(loader: AudioLoader, root: Path) -> None:
    write(root / "one.wav", sweep(1))
    os.link(root / "one.wav", root / "two.wav")
    (root / "deep").mkdir()
    (root / "deep" / "three.wav").symlink_to("../one.wav")
    names = ("one.wav", "two.wav", "deep/three.wav")
    pack(root / "x.tar", {name: root / name for name in names})
    for name in names:
        assert np.array_equal(loader.load(f"x.tar/{name}"), loader.load("one.wav"))


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_letters_may_be_composed_or_not(
    loader: AudioLoader, root: Path, form: Literal["NFC", "NFD"]
) -> None:
    clip = write(root / "clip.wav", sweep(1))
    pack(root / "x.tar", {unicodedata.normalize(form, "björk/café.wav"): clip})
    write(root / unicodedata.normalize(form, "loose café.wav"), sweep(1))
    for name in ("x.tar/björk/café.wav", "loose café.wav"):
        for asked in (unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)):
            assert len(loader.load(asked)) == 16_000


@pytest.mark.parametrize("zeros", [1024, 10_240, 0])
def test_archives_one_after_another(
    loader: AudioLoader, root: Path, refused: Refused, zeros: int
) -> None:
    data = b""
    for seconds in (1, 2, 3):
        clip = write(root / f"{seconds}.wav", sweep(seconds))
        files = {f"{seconds}.wav": clip}
        one = pack(root / "one.tar", files, format=tarfile.USTAR_FORMAT).read_bytes()
        data += one[: 512 * (1 + -(-clip.stat().st_size // 512))]  # without the zeros at its end
        data += bytes(zeros)
    (root / "x.tar").write_bytes(data)
    for seconds in (1, 2, 3):
        assert len(loader.load(f"x.tar/{seconds}.wav")) == seconds * 16_000
    refused(ErrorCode.AUDIO_MISSING, "x.tar/4.wav")


def test_what_follows_an_archive_and_is_none(
    loader: AudioLoader, root: Path, tarred: Path, refused: Refused
) -> None:
    (root / "x.tar").write_bytes(tarred.read_bytes() + b"something else" * 100)
    assert len(loader.load("x.tar/1.wav")) == 16_000
    refused(ErrorCode.AUDIO_UNDECODABLE, "x.tar/4.wav")


def test_a_folder_of_that_name_stays_a_folder(loader: AudioLoader, root: Path) -> None:
    (root / "old.tar").mkdir()
    write(root / "old.tar" / "clip.wav", sweep(1))
    assert len(loader.load("old.tar/clip.wav")) == 16_000


def test_a_new_version_of_an_archive_is_read_anew(loader: AudioLoader, root: Path) -> None:
    for seconds in (1, 2):
        pack(root / "x.tar", {"clip.wav": write(root / "clip.wav", sweep(seconds))})
        assert len(loader.load("x.tar/clip.wav")) == seconds * 16_000


def test_headers_are_read_once_for_all_threads(
    loader: AudioLoader, tarred: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, times = archives._read_headers, Mock()
    monkeypatch.setattr(archives, "_read_headers", lambda fd: (times(), read(fd))[1])
    with ThreadPoolExecutor(8) as pool:
        clips = list(pool.map(loader.load, ["audio_0.tar/1.wav"] * 32))
    assert {len(each) for each in clips} == {16_000}
    times.assert_called_once()


def test_the_roots_count_for_archives(root: Path, tmp_path: Path, refused: Refused) -> None:
    outside = pack(tmp_path / "out.tar", {"clip.wav": write(tmp_path / "clip.wav", sweep(1))})
    (root / "link.tar").symlink_to(outside)
    pack(root / "x.tar", {"../out.wav": tmp_path / "clip.wav"})
    for path in (f"{outside}/clip.wav", "link.tar/clip.wav", "../out.tar/clip.wav"):
        refused(ErrorCode.AUDIO_OUTSIDE_ROOTS, path)
    refused(ErrorCode.AUDIO_MISSING, "x.tar/out.wav")


def test_what_is_not_there_is_told(root: Path, tarred: Path, refused: Refused) -> None:
    refused(ErrorCode.AUDIO_MISSING, "audio_0.tar/4.wav")
    refused(ErrorCode.AUDIO_MISSING, "audio_1.tar/1.wav")
    refused(ErrorCode.AUDIO_MISSING, "1.wav/1.wav")
    refused(ErrorCode.AUDIO_UNDECODABLE, "audio_0.tar")  # no audio itself


def test_too_large_a_file_is_not_copied(root: Path, tarred: Path, refused: Refused) -> None:
    small = AudioLoader(AudioSettings(roots=[str(root)], max_bytes=50_000))
    refused(ErrorCode.AUDIO_TOO_LARGE, "audio_0.tar/deep/2.wav", by=small)
    assert len(small.load("audio_0.tar/1.wav")) == 16_000


def test_a_damaged_archive_is_read_up_to_the_damage(
    loader: AudioLoader, root: Path, refused: Refused
) -> None:
    clip = write(root / "clip.wav", sweep(1))
    files = {f"{number}.wav": clip for number in range(3)}
    whole = pack(root / "whole.tar", files, format=tarfile.USTAR_FORMAT).read_bytes()
    second = 512 + -(-clip.stat().st_size // 512) * 512
    broken = {
        "cut.tar": whole[: second + 5000],
        "cut_in_header.tar": whole[: second + 100],
        "garbled.tar": whole[:second] + b"\xff" * 512 + whole[second + 512 :],
    }
    for name, content in broken.items():
        (root / name).write_bytes(content)
        assert len(loader.load(f"{name}/0.wav")) == 16_000
        assert "damaged" in refused(ErrorCode.AUDIO_UNDECODABLE, f"{name}/2.wav").message
    refused(ErrorCode.AUDIO_UNDECODABLE, "cut.tar/1.wav")


def test_what_is_no_archive_is_refused(root: Path, refused: Refused) -> None:
    tarfile.open(root / "zipped.tar", "w:gz").close()
    (root / "empty.tar").write_bytes(b"")
    (root / "text.tar").write_text("not an archive" * 100)
    # a header that says that the next name has a gigabyte
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    (root / "bomb.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + b"\0" * (2 << 20))
    (root / "x.tar.gz").touch()
    refused(ErrorCode.AUDIO_UNSUPPORTED, "x.tar.gz/clip.wav")
    for name in ("zipped.tar", "empty.tar", "text.tar", "bomb.tar"):
        refused(ErrorCode.AUDIO_UNDECODABLE, f"{name}/clip.wav")
