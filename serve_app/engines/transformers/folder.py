"""Check the folder of a Transformers model: known files only, read as data, none of which is code.

Nothing here imports torch or Transformers.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from serve_app.engines.errors import EngineError, shown
from serve_app.system.files import sha256_of, sha256_of_list

CONFIG, INDEX, WEIGHTS = "config.json", "model.safetensors.index.json", "model.safetensors"
GENERATION, FEATURES = "generation_config.json", "preprocessor_config.json"
PROCESSOR, TOKENIZER, VOCABULARY = "processor_config.json", "tokenizer.json", "vocab.json"
_TOKENIZER_CONFIG = "tokenizer_config.json"
_MIB = 1 << 20
#: The files that a model may be made of, besides its weights, and the largest size of each.
_LIMITS = {
    CONFIG: _MIB,
    GENERATION: _MIB,
    FEATURES: 4 * _MIB,  # older ones have a filterbank in them
    PROCESSOR: 4 * _MIB,
    _TOKENIZER_CONFIG: 4 * _MIB,
    TOKENIZER: 64 * _MIB,
    VOCABULARY: 16 * _MIB,
    "merges.txt": 16 * _MIB,
    "added_tokens.json": 4 * _MIB,
    "special_tokens_map.json": _MIB,
}
#: The files that are settings, and so may name code.
_SETTINGS = (CONFIG, GENERATION, FEATURES, PROCESSOR, _TOKENIZER_CONFIG)
#: The files that a tokenizer is read from; one of each alternative must be there.
_TOKENIZERS = {
    "whisper": ((TOKENIZER,), (VOCABULARY, "merges.txt")),
    "wav2vec2": ((VOCABULARY,),),
    "parakeet_ctc": ((TOKENIZER,),),
    "parakeet_tdt": ((TOKENIZER,),),
}
#: `model_type` of the models that can be served.
FAMILIES = tuple(_TOKENIZERS)
_PARAKEET_TOKENIZERS = {"ParakeetTokenizer", "ParakeetTokenizerFast", "PreTrainedTokenizerFast"}
#: The class of the tokenizer that each is read with; a folder may name it, or none.
_TOKENIZER_CLASSES = {
    "whisper": {"WhisperTokenizer", "WhisperTokenizerFast"},
    "wav2vec2": {"Wav2Vec2CTCTokenizer"},
    "parakeet_ctc": _PARAKEET_TOKENIZERS,
    "parakeet_tdt": _PARAKEET_TOKENIZERS,
}
#: Largest index of shards, list of tensors in a file, and number of shards.
_MAX_INDEX, _MAX_HEADER, _MAX_SHARDS = 16 * _MIB, 16 * _MIB, 100
#: Most layers of anything: building a model without its weights takes time for each.
_MAX_LAYERS = 256
#: Most items of a list of the settings, some of which are made into layers.
_MAX_LIST = 1000
#: The only model that is a part of another one.
_ENCODER = "parakeet_encoder"
_PICKLES = re.compile(r".*\.(bin|pt|pth|ckpt|pkl|pickle|h5|msgpack|npz)$")
_SHARD = re.compile(r"[\w-][\w.-]*\.safetensors")
#: A shard as repositories name them; others there are the weights in another number format.
_HUB_SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")


class CheckedFolder(msgspec.Struct, frozen=True, kw_only=True):
    """A model whose files may be read.

    Attributes:
        path: of the folder.
        files: the files that the model is made of, by name.
        family: its `model_type`, one of `FAMILIES`.
        config: the content of `config.json`.
        features: how features are computed from audio, from its settings.
        generation: the content of `generation_config.json`; empty without one.
        parameters: how many numbers the weights have.
    """

    path: Path
    files: Mapping[str, Path]
    family: str
    config: dict[str, Any]
    features: dict[str, Any]
    generation: dict[str, Any]
    parameters: int

    def sha256(self) -> str:
        """Digest of the list of all its files, as the registry has it. Reads all of them."""
        return sha256_of_list({name: sha256_of(file) for name, file in self.files.items()})


def check_folder(path: Path) -> CheckedFolder:
    """Check the files of a model, by their sizes and as data.

    Files of other names are ignored: they are neither read, nor part of the digest.

    Raises:
        EngineError: there is no such folder; a file is missing, too large or damaged; the model is
            of another family, or has code or pickled weights; the message says which.
        OSError: a file cannot be read.
    """
    if not path.is_dir():
        raise EngineError(f"{path}: is not a folder with the files of a Transformers model")
    try:
        return _checked(path)
    except EngineError as error:
        raise EngineError(f"{path}: {error}") from None


def wanted_files(names: Collection[str]) -> list[str]:
    """Of the files of a repository those that a model is made of, by their names.

    Repositories hold the same weights in several formats; these are all of one.
    """
    weights = {WEIGHTS} & {*names}
    if not weights:
        weights = {each for each in names if each == INDEX or _HUB_SHARD.fullmatch(each)}
    return [each for each in names if each in _LIMITS or each in weights]


def _checked(path: Path) -> CheckedFolder:
    files = {name: path / name for name in _LIMITS if (path / name).exists()}
    for name, file in files.items():
        _check_size(file, _LIMITS[name])
    if CONFIG not in files:
        raise EngineError(f"has no {CONFIG}")
    settings = {name: _read_object(files[name]) for name in _SETTINGS if name in files}
    for name, content in settings.items():
        if _has_key(content, "auto_map"):
            raise EngineError(f"{name} has `auto_map`: code of the model, which is never run")
    config = settings[CONFIG]
    family = config.get("model_type")
    if family not in FAMILIES:
        raise EngineError(
            f"{CONFIG}: `model_type` is {shown(family)}; served are {', '.join(FAMILIES)}"
        )
    _check_config(config)
    _check_tokenizer(family, files, settings.get(_TOKENIZER_CONFIG, {}))
    weights = dict(_weights(path))
    return CheckedFolder(
        path=path,
        files={**files, **weights},
        family=family,
        config=config,
        features=_features(settings),
        generation=settings.get(GENERATION, {}),
        parameters=sum(_count_parameters(file) for name, file in weights.items() if name != INDEX),
    )


def _check_config(config: Mapping[str, Any]) -> None:
    if config.get("quantization_config") is not None:
        raise EngineError(f"{CONFIG} has `quantization_config`, which is not supported")
    nested = [each for each in config.values() if isinstance(each, dict)]
    for each in nested:
        if each.get("model_type", _ENCODER) != _ENCODER:
            raise EngineError(f"{CONFIG}: no part may be a model {shown(each['model_type'])}")
    for each in [dict(config), *nested]:
        for key, value in each.items():
            if isinstance(value, list) and len(value) > _MAX_LIST:
                raise EngineError(f"{CONFIG}: `{key}` has more than {_MAX_LIST} items")
            if "layers" in key and isinstance(value, int) and value > _MAX_LAYERS:
                raise EngineError(f"{CONFIG}: `{key}` is {value}, more than {_MAX_LAYERS}")


def _check_tokenizer(family: str, files: Mapping[str, Path], config: Mapping[str, Any]) -> None:
    choices = _TOKENIZERS[family]
    if not any(all(name in files for name in choice) for choice in choices):
        wanted = " or ".join(" and ".join(choice) for choice in choices)
        raise EngineError(f"has no tokenizer: {wanted}")
    named = config.get("tokenizer_class")
    if named is not None and named not in _TOKENIZER_CLASSES[family]:
        raise EngineError(f"{_TOKENIZER_CONFIG}: the tokenizer {shown(named)} is not supported")


def _features(settings: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The settings of the feature extractor: a file of their own, or a part of the processor's."""
    if FEATURES in settings:
        return settings[FEATURES]
    found = settings.get(PROCESSOR, {}).get("feature_extractor")
    if not isinstance(found, dict):
        raise EngineError(f"has no {FEATURES}")
    return found


def _weights(path: Path) -> Iterator[tuple[str, Path]]:
    """The files with the weights: one, or an index and its shards."""
    if (path / WEIGHTS).exists():
        yield WEIGHTS, path / WEIGHTS
        return
    if not (path / INDEX).exists():
        pickles = sorted(each.name for each in path.iterdir() if _PICKLES.match(each.name))
        if pickles:
            raise EngineError(
                f"has its weights in {shown(pickles[0])}, a format that can run code; save them "
                f"as {WEIGHTS} with `model.save_pretrained(folder)` where you trust them"
            )
        raise EngineError(f"has no {WEIGHTS}")
    _check_size(path / INDEX, _MAX_INDEX)
    shards = _read_object(path / INDEX).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise EngineError(f"{INDEX} has no `weight_map`")
    yield INDEX, path / INDEX
    names = {each if isinstance(each, str) else "" for each in shards.values()}
    if len(names) > _MAX_SHARDS:
        raise EngineError(f"{INDEX} names more than {_MAX_SHARDS} files")
    for name in sorted(names):
        if not _SHARD.fullmatch(name):
            raise EngineError(
                f"{INDEX} names {shown(name)}, which is no .safetensors file in the folder"
            )
        if not (path / name).exists():
            raise EngineError(f"has no {name}, which {INDEX} names")
        yield name, path / name


def _count_parameters(file: Path) -> int:
    """How many numbers a safetensors file holds, by its header."""
    _check_size(file, None)
    with file.open("rb") as opened:
        size = opened.read(8)
        length = struct.unpack("<Q", size)[0] if len(size) == 8 else 0
        if not 2 <= length <= _MAX_HEADER:
            raise EngineError(f"{file.name} is no safetensors file")
        header = _object(opened.read(length), file.name)
    header.pop("__metadata__", None)
    total = 0
    for tensor in header.values():
        shape = tensor.get("shape") if isinstance(tensor, dict) else None
        if not isinstance(shape, list) or not all(_is_size(each) for each in shape):
            raise EngineError(f"{file.name} is no safetensors file")
        total += math.prod(shape)
    return total


def _is_size(value: object) -> bool:
    return type(value) is int and value >= 0


def _check_size(file: Path, most: int | None) -> None:
    if not file.is_file():
        raise EngineError(f"{file.name} is not a regular file")
    if most is not None and file.stat().st_size > most:
        raise EngineError(f"{file.name} is larger than {most // _MIB} MiB")


def _read_object(file: Path) -> dict[str, Any]:
    return _object(file.read_bytes(), file.name)


def _object(data: bytes, name: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise EngineError(f"{name} is not a JSON object: {error}") from None
    return found


def _has_key(value: object, key: str) -> bool:
    if isinstance(value, dict):
        return key in value or any(_has_key(each, key) for each in value.values())
    return isinstance(value, list) and any(_has_key(each, key) for each in value)
