from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from serve_app.engines import archive
from serve_app.engines.archive import check_archive
from serve_app.engines.errors import EngineError

CONFIG = "sample_rate: 16000\ntarget: nemo.collections.asr.models.ctc_models.EncDecCTCModel\n"


def member(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(data)
    return info


def write(
    path: Path,
    *,
    config: str | None = CONFIG,
    weights: bool = True,
    extra: Callable[[tarfile.TarFile], None] = lambda archive: None,
    mode: str = "w",
) -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        if config is not None:
            tar.addfile(member("./model_config.yaml", config.encode()), io.BytesIO(config.encode()))
        if weights:
            tar.addfile(member("./model_weights.ckpt", b"x"), io.BytesIO(b"x"))
        extra(tar)
    return path


@pytest.fixture
def nemo(tmp_path: Path) -> Path:
    return tmp_path / "model.nemo"


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_sound_archive(nemo: Path, mode: str) -> None:
    write(nemo, mode=mode)
    digest = hashlib.sha256(nemo.read_bytes()).hexdigest()
    model = check_archive(nemo, sha256=digest)
    assert model.sha256 == digest
    assert model.model_class == "EncDecCTCModel"
    assert model.config["sample_rate"] == 16000


def test_another_digest_than_expected(nemo: Path) -> None:
    with pytest.raises(EngineError, match=r"SHA-256 .* but the settings expect aaaa"):
        check_archive(write(nemo), sha256="a" * 64)


@pytest.mark.parametrize("value", ["1", "true", "yes"])
def test_unlimited_unpickling(nemo: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", value)
    with pytest.raises(EngineError, match="TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD is set"):
        check_archive(write(nemo))


def link(target: str, kind: bytes) -> Callable[[tarfile.TarFile], None]:
    def add(tar: tarfile.TarFile) -> None:
        info = member("./vocab.txt", kind=kind)
        info.linkname = target
        tar.addfile(info)

    return add


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        (link("/etc/passwd", tarfile.SYMTYPE), "not a regular file"),
        (link("./model_config.yaml", tarfile.LNKTYPE), "not a regular file"),
        (lambda tar: tar.addfile(member("./pipe", kind=tarfile.FIFOTYPE)), "not a regular file"),
        (lambda tar: tar.addfile(member("./disk", kind=tarfile.BLKTYPE)), "not a regular file"),
        (lambda tar: tar.addfile(member("../evil.py")), "points outside"),
        (lambda tar: tar.addfile(member("./a/../../evil.py")), "points outside"),
        (lambda tar: tar.addfile(member("/evil.py")), "points outside"),
        (lambda tar: tar.addfile(member("model_config.yaml")), "two members named"),
    ],
)
def test_members_that_are_no_plain_files(
    nemo: Path, extra: Callable[[tarfile.TarFile], None], reason: str
) -> None:
    with pytest.raises(EngineError, match=reason):
        check_archive(write(nemo, extra=extra))


def test_a_folder_is_no_fault(nemo: Path) -> None:
    check_archive(write(nemo, extra=lambda tar: tar.addfile(member("./sub", kind=tarfile.DIRTYPE))))


def test_sizes_are_capped(nemo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(nemo, mode="w:gz", config=CONFIG + "#" * 100_000)
    monkeypatch.setattr(archive, "MAX_CONFIG_BYTES", 50_000)
    with pytest.raises(EngineError, match=r"model_config.yaml is larger"):
        check_archive(nemo)
    monkeypatch.setattr(archive, "MAX_BYTES", 90_000)
    with pytest.raises(EngineError, match="unpacks to more"):
        check_archive(nemo)
    monkeypatch.setattr(archive, "MAX_BYTES", 100)
    with pytest.raises(EngineError, match="larger than"):
        check_archive(nemo)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("sample_rate: ${oc.env:HOME}\n" + CONFIG, "interpolation"),
        ("a: &a [1]\nb: *a\n" + CONFIG, "aliases"),
        ("a: !!python/object/apply:os.system [true]\n" + CONFIG, "not plain YAML"),
        ("a: [1\n" + CONFIG, "not plain YAML"),
        ("- 1\n- 2\n", "not a mapping"),
        ("sample_rate: 16000\n", "model class 'None' is not served"),
        ("target: subprocess.Popen\n", "is not served"),
        ("target: evil.EncDecCTCModel\n", "is not served"),
        (
            "target: nemo.collections.asr.models.aed_multitask_models.EncDecMultiTaskModel\n",
            "served are: EncDecCTCModel, ",
        ),
    ],
)
def test_configurations_that_are_refused(nemo: Path, config: str, reason: str) -> None:
    with pytest.raises(EngineError, match=reason):
        check_archive(write(nemo, config=config))


def test_parts_that_are_missing(nemo: Path) -> None:
    with pytest.raises(EngineError, match=r"has no model_config.yaml"):
        check_archive(write(nemo, config=None))
    with pytest.raises(EngineError, match=r"has no model_weights.ckpt"):
        check_archive(write(nemo, weights=False))


def test_files_that_are_no_archive(nemo: Path, tmp_path: Path) -> None:
    for path, data in ((nemo, b"not a tar"), (tmp_path / "empty.nemo", b"")):
        path.write_bytes(data)
        with pytest.raises(EngineError, match=r"\.nemo: cannot be read as a \.nemo archive"):
            check_archive(path)
    with pytest.raises(EngineError, match="No such file"):
        check_archive(tmp_path / "absent.nemo")
    with pytest.raises(EngineError, match="cannot be read"):
        check_archive(tmp_path)


def test_a_truncated_archive(nemo: Path) -> None:
    data = write(nemo, mode="w:gz", config=CONFIG + "#" * 10_000).read_bytes()
    nemo.write_bytes(data[: len(data) // 2])
    with pytest.raises(EngineError, match="cannot be read"):
        check_archive(nemo)
