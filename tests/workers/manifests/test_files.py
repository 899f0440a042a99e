"""Several files are one manifest, as NeMo's data sets are cut into shards."""

from __future__ import annotations

import gzip
import json
import os
import re
import tarfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from schemas.manifest import decode_manifest
from schemas.manifest_text import ManifestFileError
from tests.serve_app.audio.sounds import sweep, write
from workers.manifests.audio_paths import audio_of
from workers.manifests.files import (
    called,
    joined,
    manifest_files,
    manifest_sha256,
)
from workers.manifests.manifest_file import read_manifest
from workers.manifests.shards import audio_folders, missing_archive, with_archive
from workers.manifests.speech import check_manifest, read_audio


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(manifest: str) -> list[str]:
    return [str(each) for each in manifest_files(Path(manifest))]


@pytest.mark.parametrize(
    ("manifest", "files"),
    [
        ("manifest__OP_0..2_CL_.json", ["manifest_0.json", "manifest_1.json", "manifest_2.json"]),
        ("m_{8..10}.json", ["m_8.json", "m_9.json", "m_10.json"]),
        ("m_{008..010}.json", ["m_008.json", "m_009.json", "m_010.json"]),
        ("{a,b}/m.json,c.json", ["a/m.json", "b/m.json", "c.json"]),
        ("one.json,two.json", ["one.json", "two.json"]),
        ("missing.json", ["missing.json"]),
        ("-", ["-"]),
    ],
)
def test_names_as_nemo_writes_them(folder: Path, manifest: str, files: list[str]) -> None:
    assert names(manifest) == files


def test_patterns_are_sorted_by_number(folder: Path) -> None:
    for number in (0, 2, 10):
        (folder / f"m_{number}.json").touch()
    (folder / "deep").mkdir()
    (folder / "deep" / "m_1.json").touch()
    assert names("m_*.json") == ["m_0.json", "m_2.json", "m_10.json"]
    assert names("**/m_[0-9].json") == ["deep/m_1.json", "m_0.json", "m_2.json"]
    with pytest.raises(FileNotFoundError, match="no file has such a name"):
        names("n_*.json")
    with pytest.raises(ManifestFileError, match="brace"):
        names("m_{0..2.json")
    for many in ("m_{0..999999999}.json", "m_{1..9999}_{1..9999}.json"):
        with pytest.raises(ManifestFileError, match="more than 100000 files"):
            names(many)


def test_what_exists_is_taken_by_its_name(folder: Path) -> None:
    for name in ("a,b.json", "m_{0..2}.json", "m_[0-9].json", "x_OP_y_CL_.json"):
        (folder / name).touch()
        assert names(name) == [name]


def test_each_file_has_a_name_of_its_own(folder: Path) -> None:
    assert called([Path("x/a.json"), Path("y/a.json"), Path("b.json")]) == [
        "x/a.json",
        "y/a.json",
        "b.json",
    ]
    assert called([Path("1/x/a.json"), Path("2/x/a.json")]) == ["1/x/a.json", "2/x/a.json"]
    with pytest.raises(ManifestFileError, match=r"a\.json: is given more than once"):
        called([Path("a.json"), Path("./a.json")])


def line(audio: str, **keys: object) -> str:
    return json.dumps({"audio_filepath": audio, "text": "a tone", **keys}) + "\n"


def test_lines_know_their_file_and_numbers_begin_anew(folder: Path) -> None:
    (folder / "a.json").write_text(line("1.wav") + "\n" + line("2.wav", id="two"))
    (folder / "b.json.gz").write_bytes(gzip.compress((line("3.wav") + "{}\n").encode()))
    manifest = joined([Path("a.json"), Path("b.json.gz")])
    lines = list(read_manifest(manifest))
    assert [(each.file.name, each.number, each.id) for each in lines] == [
        ("a.json", 1, "a.json:1"),
        ("a.json", 3, "two"),
        ("b.json.gz", 1, "b.json.gz:1"),
        ("b.json.gz", 2, "b.json.gz:2"),
    ]
    _, faults = check_manifest(manifest, 60, audio=False)
    assert [str(each).split(" ")[0] for each in faults] == ["b.json.gz:2:"]


def test_the_digest_is_that_of_all_files_in_order(folder: Path) -> None:
    for name in ("a.json", "b.json"):
        (folder / name).write_text(line(name))
    alone = manifest_sha256(Path("a.json"))
    assert alone == sha256((folder / "a.json").read_bytes()).hexdigest()
    both, turned = (manifest_sha256(Path(each)) for each in ("a.json,b.json", "b.json,a.json"))
    assert len({alone, both, turned}) == 3


@pytest.fixture(params=["sharded manifests", "one manifest"])
def tarred(folder: Path, request: pytest.FixtureRequest) -> Path:
    """A data set as NeMo's script writes it, and the name of its manifest."""
    (folder / "sharded_manifests").mkdir()
    together = ""
    for shard in range(2):
        lines = ""
        with tarfile.open(folder / f"audio_{shard}.tar", "w") as tar:
            for number in range(3):
                name = f"{shard}_{number}.wav"
                tar.add(write(folder / "loose.wav", sweep(1 + shard + number)), name)
                # as spreadsheets and as NeMo write it
                lines += line(
                    name,
                    duration=1.0 + shard + number,
                    shard_id=f"{shard}.0" if number == 1 else shard,
                )
            lines += line(f"{shard}_0-sub1.wav", offset=0.5, duration=0.25, shard_id=shard)
        together += lines
        own = re.sub(r', "shard_id": [^,}]*', "", lines)
        (folder / "sharded_manifests" / f"manifest_{shard}.json").write_text(own)
    os.remove(folder / "loose.wav")
    (folder / "tarred_audio_manifest.json").write_text(together)
    if request.param == "one manifest":
        return Path("tarred_audio_manifest.json")
    return Path("sharded_manifests/manifest__OP_0..1_CL_.json")


def test_audio_of_a_tarred_data_set_is_found(tarred: Path) -> None:
    utterances, faults = check_manifest(tarred, 60)
    assert faults == []
    assert [len(read_audio(each)) / 16_000 for each in utterances] == [1, 2, 3, 0.25, 2, 3, 4, 0.25]
    assert np.array_equal(read_audio(utterances[3]), read_audio(utterances[0])[8000:12000])


def test_a_message_names_the_archive(folder: Path, tarred: Path) -> None:
    (folder / "plain.json").write_text(line("audio_0.tar/0_0.wav"))
    sent = [with_archive(each) for each in read_manifest(joined([tarred, Path("plain.json")]))]
    first = decode_manifest(sent[0], default_id="x")
    assert Path(first.audio_filepath).resolve() == folder / "audio_0.tar" / "0_0.wav"
    assert {Path(each).resolve() for each in audio_folders(tarred)} >= {folder}
    assert sent[-1] == line("audio_0.tar/0_0.wav").strip().encode()


def test_an_archive_that_is_not_there_is_named(folder: Path, tarred: Path) -> None:
    (folder / "audio_1.tar").unlink()
    missing = [missing_archive(each) for each in read_manifest(tarred)]
    assert missing == [None] * 4 + ["audio_1.tar"] * 4


def test_a_number_in_its_name_makes_no_tarred_data_set(tmp_path: Path) -> None:
    """The worker's machine may have the files."""
    (tmp_path / "manifest_1.json").write_text(line("loose.wav"))
    (found,) = read_manifest(tmp_path / "manifest_1.json")
    assert missing_archive(found) is None


def test_a_file_beside_the_manifest_comes_before_the_archive(folder: Path, tarred: Path) -> None:
    first = next(iter(read_manifest(tarred)))
    assert ".tar/" in audio_of(first)
    write(first.file.folder / "0_0.wav", sweep(1))
    assert audio_of(first) == str(first.file.folder / "0_0.wav")


def test_a_file_that_the_archive_does_not_have_is_a_fault_of_its_line(tarred: Path) -> None:
    first = manifest_files(tarred)[0]
    first.write_text(line("0_9.wav", shard_id=0) + first.read_text())
    _, faults = check_manifest(tarred, 60)
    assert [str(each) for each in faults] == [
        f"{first.name}:1: 0_9.wav: no such file in audio_0.tar; check `audio_filepath`"
    ]
