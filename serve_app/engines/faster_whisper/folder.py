"""The folder of a Whisper model in CTranslate2's format, checked before a library reads it."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import msgspec

from serve_app.engines.errors import EngineError, shown
from serve_app.system.files import sha256_of, sha256_of_list
from serve_app.system.sizes import size_text

_MIB = 1 << 20
WEIGHTS, CONFIG, TOKENIZER = "model.bin", "config.json", "tokenizer.json"
PREPROCESSOR = "preprocessor_config.json"
#: One of them must be there.
VOCABULARIES = ("vocabulary.json", "vocabulary.txt")
_REQUIRED = (WEIGHTS, CONFIG, TOKENIZER)
#: Most bytes of each file; large-v3 in float32 has 6.2 GB of weights, and 2.5 MB of a tokenizer.
_LIMITS = {
    WEIGHTS: 16 << 30,
    CONFIG: _MIB,
    TOKENIZER: 16 * _MIB,
    PREPROCESSOR: _MIB,
    **dict.fromkeys(VOCABULARIES, 16 * _MIB),
}
#: What CTranslate2 calls Whisper.
_SPECIFICATION = "WhisperSpec"


class _Features(msgspec.Struct, frozen=True):
    """What the model hears, as `preprocessor_config.json` says it."""

    feature_size: int = 80
    sampling_rate: int = 16_000
    hop_length: int = 160
    chunk_length: int = 30
    n_fft: int = 400


def model_files(folder: Path) -> dict[str, Path]:
    """The files of the model in a folder, by name; others there are left out, and never read.

    No code is in any of them, and none is run. That they fit each other is not checked.

    Args:
        folder: as `ct2-transformers-converter` makes it.

    Raises:
        EngineError: there is no such folder, a file is missing, too large, or not what its name
            says.
    """
    if not folder.is_dir():
        what = "no folder" if folder.exists() else "no such folder"
        raise EngineError(
            f"{folder}: {what}; `path` names one with {', '.join(_REQUIRED)} and a vocabulary"
        )
    files = {name: folder / name for name in _LIMITS if (folder / name).exists()}
    missing = [name for name in _REQUIRED if name not in files]
    if not any(name in files for name in VOCABULARIES):
        missing.append(" or ".join(VOCABULARIES))
    if missing:
        raise EngineError(
            f"{folder}: not a Whisper model of CTranslate2: {', '.join(missing)} is missing"
        )
    for name, path in files.items():
        if not path.is_file():
            raise EngineError(f"{path}: not a file")
        if (size := path.stat().st_size) > _LIMITS[name]:
            limit = size_text(_LIMITS[name])
            raise EngineError(f"{path}: it has {size_text(size)}, and at most {limit} are read")
    _check_weights(files[WEIGHTS])
    for name in (CONFIG, TOKENIZER):
        _decoded(files[name], dict[str, Any])
    if PREPROCESSOR in files:
        _check_features(files[PREPROCESSOR])
    return files


def digest_of(files: dict[str, Path]) -> str:
    """SHA-256 of the files, as the registry has it of a version. Reads all of them."""
    return sha256_of_list({name: sha256_of(path) for name, path in files.items()})


def _check_weights(path: Path) -> None:
    """Refuse a file that is not of Whisper: a version, and the name of what it specifies."""
    with path.open("rb") as file:
        head = file.read(6)
        size = struct.unpack("<IH", head)[1] if len(head) == 6 else 0
        found = file.read(min(size, 64)).rstrip(b"\0")
    if found != _SPECIFICATION.encode():
        raise EngineError(f"{path}: not the weights of a Whisper model of CTranslate2")


def _check_features(path: Path) -> None:
    """Refuse a model that hears something else than the engine gives it."""
    found = _decoded(path, _Features)
    for name, (given, wanted) in {
        key: (getattr(found, key), getattr(_Features(), key)) for key in _Features.__struct_fields__
    }.items():
        if name != "feature_size" and given != wanted:
            raise EngineError(f"{path}: {name} is {shown(given)}; only {wanted} is supported")


def _decoded(path: Path, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise EngineError(f"{path}: {error}") from error
