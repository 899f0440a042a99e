"""Validate a `.nemo` file before any of it is loaded."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import yaml

from serve_app.digest import sha256_of
from serve_app.engines.errors import EngineError

#: Model classes that the NeMo engine can serve, and which heads they have.
HEADS: dict[str, tuple[str, ...]] = {
    "EncDecCTCModel": ("ctc",),
    "EncDecCTCModelBPE": ("ctc",),
    "EncDecRNNTModel": ("rnnt",),
    "EncDecRNNTBPEModel": ("rnnt",),
    "EncDecHybridRNNTCTCModel": ("rnnt", "ctc"),
    "EncDecHybridRNNTCTCBPEModel": ("rnnt", "ctc"),
}
_MODELS_PACKAGE = "nemo.collections.asr.models."

#: Largest archive, packed and unpacked. The largest public speech models have about 5 GB.
MAX_BYTES = 16 << 30
#: Largest configuration; most of one is the vocabulary.
MAX_CONFIG_BYTES = 16 << 20

_CONFIG = "model_config.yaml"
_WEIGHTS = "model_weights.ckpt"

#: libyaml where PyYAML was built with it: ten times as fast on a large vocabulary.
_YamlLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ModelArchive(msgspec.Struct, frozen=True, kw_only=True):
    """A `.nemo` file that passed `check_archive`.

    Attributes:
        path: where it is.
        sha256: its digest, lower-case hexadecimal.
        model_class: name of its class, one of `HEADS`.
        config: its `model_config.yaml`.
    """

    path: Path
    sha256: str
    model_class: str
    config: dict[str, Any]


def check_archive(path: Path, *, sha256: str | None = None) -> ModelArchive:
    """Read as much of the archive as tells that loading it runs nobody's code but NeMo's.

    Refused are: a digest other than `sha256`; links, devices, absolute or parent paths and
    duplicate names among its members; a size beyond `MAX_BYTES`; a configuration that is not
    plain YAML or contains an interpolation (``${oc.env:SECRET}`` would be filled in from the
    environment); a model class that the engine does not serve; and any archive at all while
    torch is told to unpickle without limits. Reads the whole file once (for the digest).

    Raises:
        EngineError: the archive is refused; the message says why.
    """
    if os.environ.get("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "0").lower() not in {"", "0"}:
        raise EngineError(
            "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD is set: a model file could run any code; unset it"
        )
    try:
        if path.stat().st_size > MAX_BYTES:
            raise EngineError(f"{path}: larger than {MAX_BYTES >> 30} GiB")
        digest = sha256_of(path)
        if sha256 is not None and digest != sha256:
            raise EngineError(
                f"{path}: has SHA-256 {digest}, but the settings expect {sha256}; "
                "it is another file than the one that was approved, or damaged"
            )
        with tarfile.open(path) as archive:
            text = _read_config(path, archive, _check_members(path, archive))
    except (OSError, EOFError, tarfile.TarError) as error:
        raise EngineError(f"{path}: cannot be read as a .nemo archive: {error}") from error
    config = _parse_config(path, text)
    return ModelArchive(
        path=path, sha256=digest, model_class=_model_class(path, config), config=config
    )


def _check_members(path: Path, archive: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    files: dict[str, tarfile.TarInfo] = {}
    unpacked = 0
    for member in archive:  # stops at the first fault: an archive may have endless members
        name = PurePosixPath(member.name)
        if name.is_absolute() or ".." in name.parts:
            raise EngineError(f"{path}: member {member.name!r} points outside the archive")
        if member.isdir():
            continue
        if not member.isreg():
            raise EngineError(f"{path}: member {member.name!r} is not a regular file")
        if str(name) in files:
            raise EngineError(f"{path}: has two members named {str(name)!r}")
        unpacked += member.size
        if unpacked > MAX_BYTES:
            raise EngineError(f"{path}: unpacks to more than {MAX_BYTES >> 30} GiB")
        files[str(name)] = member
    for required in (_CONFIG, _WEIGHTS):
        if required not in files:
            raise EngineError(f"{path}: has no {required}; it is not a NeMo model")
    return files


def _read_config(path: Path, archive: tarfile.TarFile, files: dict[str, tarfile.TarInfo]) -> str:
    if files[_CONFIG].size > MAX_CONFIG_BYTES:
        raise EngineError(f"{path}: {_CONFIG} is larger than {MAX_CONFIG_BYTES >> 20} MiB")
    reader = archive.extractfile(files[_CONFIG])
    assert reader is not None  # it is a regular file
    try:
        return reader.read().decode()
    except UnicodeDecodeError:
        raise EngineError(f"{path}: {_CONFIG} is not UTF-8") from None


def _parse_config(path: Path, text: str) -> dict[str, Any]:
    if "${" in text:
        raise EngineError(f"{path}: {_CONFIG} contains an interpolation (${{...}})")
    try:
        # an alias is written once and may unfold into millions
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, _YamlLoader)):
            raise EngineError(f"{path}: {_CONFIG} contains YAML aliases")
        config = yaml.load(text, _YamlLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise EngineError(f"{path}: {_CONFIG} is not plain YAML: {error}") from None
    if not isinstance(config, dict):
        raise EngineError(f"{path}: {_CONFIG} is not a mapping")
    return config


def _model_class(path: Path, config: dict[str, Any]) -> str:
    target = str(config.get("target"))
    name = target.rpartition(".")[2]
    if not target.startswith(_MODELS_PACKAGE) or name not in HEADS:
        raise EngineError(
            f"{path}: its model class {target!r} is not served; served are: {', '.join(HEADS)}"
        )
    return name
