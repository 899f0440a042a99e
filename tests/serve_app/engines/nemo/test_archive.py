from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import pytest

from deploy.demo import MODELS
from serve_app.engines.errors import EngineError
from serve_app.engines.nemo import archive
from serve_app.engines.nemo.archive import open_archive
from tests.scenarios.hostile_archives import KINDS, Site, multitask
from tests.serve_app.engines.nemo.archives import (
    CONFIG,
    TIMES_CONFIG,
    TIMES_WEIGHTS,
    WEIGHTS,
    plain_tar,
    read_members,
)
from tests.serve_app.engines.nemo.tones import MODEL

#: Only NeMo can tell that these are wrong.
FOR_NEMO = {
    "a layer too large for its weights",
    "a network too large for any machine",
    "another number of pieces",
    "weights of another model",
}


def test_a_sound_archive() -> None:
    digest = hashlib.sha256(MODEL.read_bytes()).hexdigest()
    with open_archive(MODEL, sha256=digest) as archive:
        assert archive.sha256 == digest
        assert archive.model_class == "EncDecCTCModel"
        assert archive.config["sample_rate"] == 16_000
        assert stat.S_IMODE(archive.folder.stat().st_mode) == 0o700
        assert [file.name for file in archive.folder.iterdir()] == ["model_weights.ckpt"]
    assert not archive.folder.exists()


def test_a_sound_archive_with_a_second_model(tmp_path: Path) -> None:
    members = multitask(read_members(MODELS / "general.nemo"))
    path = tmp_path / "model.nemo"
    path.write_bytes(plain_tar(members))
    with open_archive(path) as archive:
        assert archive.model_class == "EncDecMultiTaskModel"
        assert archive.times is not None
        assert archive.times.model_class == "EncDecCTCModelBPE"
        assert archive.times.folder.parent == archive.folder
        custom = archive.config["tokenizer"]["custom_tokenizer"]
        assert custom["_target_"].endswith(".CanaryBPETokenizer")
        for model in (archive, archive.times):
            assert Path(model.config["tokenizer"]["model_path"]).is_relative_to(model.folder)
            assert (model.folder / "model_weights.ckpt").is_file()
    path.write_bytes(plain_tar({k: v for k, v in members.items() if "timestamps" not in k}))
    with open_archive(path) as archive:
        assert archive.times is None


def test_a_second_model_of_another_kind_of_model_is_not_read(tmp_path: Path) -> None:
    members = read_members(MODELS / "general.nemo")
    path = tmp_path / "model.nemo"
    path.write_bytes(plain_tar({**members, TIMES_CONFIG: b"?", TIMES_WEIGHTS: b"?"}))
    with open_archive(path) as archive:
        assert archive.times is None
        assert not list(archive.folder.glob("times*"))


def test_what_is_not_read_for_loading_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "model.nemo"
    notes = {"./notes.txt": b"x", "./features.npy": b"x", "./sub/model_config.yaml": b"a: 1"}
    path.write_bytes(plain_tar({**read_members(MODELS / "general.nemo"), **notes}))
    with open_archive(path) as archive:
        found = {str(file.relative_to(archive.folder)) for file in archive.folder.rglob("*")}
        assert found == {
            "model_weights.ckpt",
            "tokenizer",
            "tokenizer/tokenizer.model",
            "tokenizer/tokenizer.vocab",
            "tokenizer/vocab.txt",
        }
        section = archive.config["tokenizer"]
        assert section.pop("type") == "bpe"
        assert section.pop("dir") == ""
        assert all(Path(file).parent.parent == archive.folder for file in section.values())


def test_the_lists_of_pieces_are_those_of_the_tokenizer(tmp_path: Path) -> None:
    members = read_members(MODELS / "general.nemo")
    lies = {
        name: b"evil\n" if name.endswith((".txt", ".vocab")) else data
        for name, data in members.items()
    }
    path = tmp_path / "model.nemo"
    path.write_bytes(plain_tar(lies))
    for name, section in (("vocab.txt", "vocab_path"), ("r.vocab", "spe_tokenizer_vocab")):
        (truth,) = (data for file, data in members.items() if file.endswith(name))
        with open_archive(path) as archive:
            found = Path(archive.config["tokenizer"][section]).read_bytes()
        assert [row.split(b"\t")[0] for row in found.splitlines()] == [
            row.split(b"\t")[0] for row in truth.splitlines()
        ]


def test_the_folder_is_gone_when_the_archive_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(EngineError, match="aaaa is expected"), open_archive(MODEL, sha256="a" * 64):
        raise AssertionError("it is open")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", ["1", "true", "yes"])
def test_unlimited_unpickling(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", value)
    with pytest.raises(EngineError, match="TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD is set"):
        open_archive(MODEL).__enter__()


@pytest.mark.parametrize("missing", [CONFIG, WEIGHTS])
def test_parts_that_are_missing(tmp_path: Path, missing: str) -> None:
    members = read_members(MODEL)
    del members[missing]
    path = tmp_path / "model.nemo"
    path.write_bytes(plain_tar(members))
    with pytest.raises(EngineError, match=f"model.nemo: has no {missing[2:]}"):
        open_archive(path).__enter__()


def test_a_large_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_CONFIG_BYTES", 100)
    with pytest.raises(EngineError, match=r"model_config\.yaml is larger"):
        open_archive(MODEL).__enter__()


def test_files_that_are_no_archive(tmp_path: Path) -> None:
    (tmp_path / "empty.nemo").touch()
    for path in (tmp_path / "empty.nemo", tmp_path / "absent.nemo", tmp_path):
        with pytest.raises(EngineError, match=f"{path}: .*cannot be read as a .nemo archive"):
            open_archive(path).__enter__()


#: Kinds that take more than a second to refuse.
LARGE = {"a bomb", "a list of a hundred thousand labels"}


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[pytest.mark.slow] if kind in LARGE else [])
        for kind in sorted(KINDS.keys() - FOR_NEMO)
    ],
)
def test_hostile_files_are_refused_before_nemo_is_there(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    path, mark = tmp_path / "evil.nemo", tmp_path / "mark"
    path.write_bytes(KINDS[kind](Site(read_members(MODELS / "general.nemo"), mark, tmp_path)))
    with pytest.raises(EngineError, match=r"evil\.nemo: ") as refusal:
        open_archive(path).__enter__()
    assert len(str(refusal.value)) < 1000
    assert "\n" not in str(refusal.value)
    assert not mark.exists()
    assert not list((tmp_path / "temporary").iterdir())
