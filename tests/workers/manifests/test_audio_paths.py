from __future__ import annotations

import os
from pathlib import Path

import pytest

from workers.manifests.audio_paths import locate


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, list[str]]:
    """The folder of a manifest and two roots; `everywhere` is in all of them."""
    folders = [tmp_path / name for name in ("manifest", "first", "second")]
    for folder in folders:
        folder.mkdir()
        (folder / "everywhere.wav").touch()
        (folder / f"{folder.name}.wav").touch()
    return folders[0], [str(folder) for folder in folders[1:]]


def test_the_manifests_folder_comes_first_then_the_roots_in_order(
    folders: tuple[Path, list[str]],
) -> None:
    folder, roots = folders
    assert locate("everywhere.wav", folder, roots) == f"{folder}/everywhere.wav"
    assert locate("second.wav", folder, roots) == f"{roots[1]}/second.wav"
    (folder / "everywhere.wav").unlink()
    assert locate("everywhere.wav", folder, roots) == f"{roots[0]}/everywhere.wav"
    assert locate("first.wav", folder) == "first.wav"


def test_what_is_not_relative_or_not_there_stays_as_it_is(folders: tuple[Path, list[str]]) -> None:
    folder, roots = folders
    for audio in ("gone.wav", "/gone.wav", "s3://bucket/a.wav", "file://elsewhere/a.wav", "a\0b"):
        assert locate(audio, folder, roots) == audio
    assert locate(f"file://{roots[0]}/first.wav", folder) == f"{roots[0]}/first.wav"
    assert locate(f"{roots[0]}/first.wav", folder) == f"{roots[0]}/first.wav"


def test_a_file_that_cannot_be_read_is_not_replaced_by_another(
    folders: tuple[Path, list[str]],
) -> None:
    folder, roots = folders
    (folder / "everywhere.wav").unlink()
    os.symlink("everywhere.wav", folder / "everywhere.wav")  # leads to itself
    assert locate("everywhere.wav", folder, roots) == f"{folder}/everywhere.wav"
