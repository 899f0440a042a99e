"""Turn an untrusted `model_config.yaml` into a configuration that is safe to load.

The safe configuration is built only from what `serve_app.engines.nemo.allow_list` allows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from serve_app.engines.errors import EngineError, shown
from serve_app.engines.nemo.allow_list import (
    ALLOWED_CLASSES,
    DECODING_KEYS,
    DROPPED_SECTIONS,
    FILE_KEYS,
    GREEDY_KEYS,
    HEADS,
    MODELS,
    PLAIN_SECTIONS,
    AllowedClass,
)
from serve_app.engines.nemo.plain_yaml import check_plain, parse_yaml

#: Longest list. The longest ones are alphabets of models that write single characters.
MAX_LIST = 20_000

#: Keys that Hydra and NeMo interpret anywhere in a configuration.
_INTERPRETED = re.compile(r"_.*_|cls|params|target")
_LANGUAGE = re.compile(r"[A-Za-z0-9_-]+")


def parse_config(text: str) -> dict[str, Any]:
    """Parse a configuration in YAML, without its `DROPPED_SECTIONS`.

    Raises:
        EngineError: as `parse_yaml`; or it has an interpolation, which would be resolved with this
            process's environment.
    """
    config = parse_yaml(text)
    kept = {key: each for key, each in config.items() if key not in DROPPED_SECTIONS}
    check_plain(kept)
    return kept


def model_class(config: Mapping[str, Any]) -> str:
    """Name of the model's class, one of `HEADS`.

    Raises:
        EngineError: it has another one, or none.
    """
    target = config.get("target")
    name = str(target).rpartition(".")[2]
    package = f"{MODELS}."
    if not isinstance(target, str) or not target.startswith(package) or name not in HEADS:
        served = ", ".join(HEADS)
        raise EngineError(
            f"its model class {shown(target)} is not supported; supported are: {served}"
        )
    return name


def safe_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a configuration that a model is built from, without its tokenizer.

    Sections for training and sections that the models do not use are left out. Decoding is reduced
    to what greedy search needs.

    Args:
        config: plain, see `parse_config`.

    Raises:
        EngineError: a section, other than those for training, names a class that is not allowed
            there, an argument that the class does not have, or a file.
    """
    safe: dict[str, Any] = {"target": f"{MODELS}.{model_class(config)}"}
    if has_tokenizer(config):
        config = _without_vocabulary(config)
    for key, value in config.items():
        match key:
            case "target" | "tokenizer":
                continue
            case "decoding":
                safe[key] = _decoding(value, key)
            case "aux_ctc":
                safe[key] = _aux_ctc(value, key)
            case "adapters":
                safe[key] = _adapters(value, key)
            case _ if key in ALLOWED_CLASSES:
                safe[key] = _optional_class(value, key, ALLOWED_CLASSES[key])
            case _ if key in PLAIN_SECTIONS:
                safe[key] = _plain(value, key)
            case _ if key not in DROPPED_SECTIONS:
                _refuse_interpreted(key, key)
                _plain(value, key)
    # without it NeMo's own transcribe() has no defaults, and fails
    safe["validation_ds"] = {
        "manifest_filepath": None,
        "sample_rate": safe.get("sample_rate", 16_000),
        "batch_size": 16,
        "shuffle": False,
        "use_start_end_token": False,
    }
    return safe


def _without_vocabulary(config: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out lists that NeMo replaces with the tokenizer's tokens, which takes it seconds."""
    kept = {key: each for key, each in config.items() if key != "labels"}
    for key in ("decoder", "joint", "aux_ctc"):
        section = kept.get(key)
        if isinstance(section, dict):
            kept[key] = {name: each for name, each in section.items() if name != "vocabulary"}
    if isinstance(kept.get("aux_ctc"), dict):
        kept["aux_ctc"] = _without_vocabulary(kept["aux_ctc"])
    return kept


def _optional_class(
    value: Any, place: str, known: Mapping[str, AllowedClass]
) -> dict[str, Any] | None:
    """As `_class_section`; None for null."""
    return None if value is None else _class_section(value, place, known)


def _class_section(value: Any, place: str, known: Mapping[str, AllowedClass]) -> dict[str, Any]:
    """Check a section that names a class: one of `known`, with arguments that the class has."""
    section = _mapping(value, place)
    target = section.get("_target_")
    name = str(target).rpartition(".")[2]
    part = known.get(name)
    if part is None or target not in part.names(name):
        raise EngineError(
            f"{place}._target_ is {shown(target)}, which is not allowed there; allowed are: "
            f"{', '.join(known)}"
        )
    made: dict[str, Any] = {"_target_": part.names(name)[0]}
    for key, each in section.items():
        at = f"{place}.{key}"
        if key == "_target_":
            continue
        if key in part.parts:
            made[key] = _optional_class(each, at, part.parts[key])
        elif key in part.tables:
            made[key] = _plain(each, at)
        elif key in part.arguments:
            made[key] = _values(each, at)
        elif each is not None:  # null: an unset argument of another version of NeMo
            _refuse_interpreted(key, at)
            raise EngineError(f"{at}: {name} has no argument {shown(key)}")
    return made


def _adapters(value: Any, place: str) -> dict[str, Any]:
    """The configuration of each adapter, by name; and what NeMo stores for all of them."""
    made: dict[str, Any] = {}
    for key, each in _mapping(value, place).items():
        at = f"{place}.{key}"
        if key == "global_cfg":
            made[key] = _plain(each, at)
            continue
        _refuse_interpreted(key, at)
        section = dict(_mapping(each, at))
        enabled = section.pop("enabled", True)
        adapter = _class_section(section, at, ALLOWED_CLASSES["adapters"])
        made[key] = adapter | {"enabled": bool(enabled)}
    return made


def _aux_ctc(value: Any, place: str) -> dict[str, Any]:
    """The CTC head of a hybrid model."""
    made: dict[str, Any] = {}
    for key, each in _mapping(value, place).items():
        at = f"{place}.{key}"
        if key == "decoder":
            made[key] = _optional_class(each, at, ALLOWED_CLASSES[at])
        elif key == "decoding":
            made[key] = _decoding(each, at)
        else:
            _refuse_interpreted(key, at)
            made[key] = _plain(each, at)
    return made


def _decoding(value: Any, place: str) -> dict[str, Any] | None:
    if value is None:
        return None
    section = _plain(_mapping(value, place), place)
    greedy = _mapping(section.get("greedy") or {}, f"{place}.greedy")
    _refuse_files(greedy, f"{place}.greedy")
    kept = {key: _values(each, place) for key, each in section.items() if key in DECODING_KEYS}
    return kept | {
        "strategy": "greedy_batch",
        "greedy": {key: _values(each, place) for key, each in greedy.items() if key in GREEDY_KEYS},
    }


def _refuse_files(section: Mapping[str, Any], place: str) -> None:
    for key, each in section.items():
        at = f"{place}.{key}"
        if key in FILE_KEYS and each:
            raise EngineError(f"{at} names a file outside the archive; remove it")
        if isinstance(each, dict):
            _refuse_files(each, at)


def _plain(value: Any, place: str) -> Any:
    """A copy of `value`, checked to have no interpreted keys at any depth."""
    if isinstance(value, dict):
        made = {}
        for key, each in value.items():
            at = f"{place}.{key}"
            _refuse_interpreted(key, at)
            made[key] = _plain(each, at)
        return made
    if isinstance(value, list):
        _check_length(value, place)
        return [_plain(each, place) for each in value]
    return value


def _values(value: Any, place: str) -> Any:
    """A copy of `value`, checked to have no mappings."""
    if isinstance(value, list):
        _check_length(value, place)
        return [_values(each, place) for each in value]
    if isinstance(value, dict):
        _plain(value, place)  # if it names a class, report that instead
        raise EngineError(f"{place} is a mapping, but must be a value or a list")
    return value


def _check_length(value: list[Any], place: str) -> None:
    if len(value) > MAX_LIST:  # NeMo copies lists many times
        raise EngineError(f"{place} has more than {MAX_LIST} values")


def _mapping(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise EngineError(f"{place} is not a mapping")
    return value


def _refuse_interpreted(key: str, place: str) -> None:
    if _INTERPRETED.fullmatch(key):
        raise EngineError(f"{shown(place)} is not allowed: nothing is instantiated there")


def tokenizer_files(config: Mapping[str, Any], members: Mapping[str, Path]) -> dict[str, Any]:
    """Find the SentencePiece models of a configuration among the members of the archive.

    Args:
        config: plain, see `parse_config`.
        members: the file of each member of the archive, by name.

    Returns:
        ``{"type": "bpe", "model": file}``; with a tokenizer for each language ``{"type": "agg",
        "langs": {language: {...}}}``; an empty mapping for a model that writes single characters.

    Raises:
        EngineError: it names another file, a class, or another kind of tokenizer.
    """
    if not has_tokenizer(config):
        return {}
    place = "tokenizer"
    section = _plain(_mapping(config.get(place), place), place)
    if section.get("custom_tokenizer") is not None:
        raise EngineError(f"{place}.custom_tokenizer is not allowed")
    if str(section.get("type")).lower() != "agg":
        return _one_tokenizer(section, place, members)
    languages = _mapping(section.get("langs"), f"{place}.langs")
    if not languages:
        raise EngineError(f"{place}.langs is empty")
    found = {}
    for language, each in languages.items():
        if not _LANGUAGE.fullmatch(language):
            raise EngineError(f"{place}.langs: {shown(language)} is not a valid name of a language")
        at = f"{place}.langs.{language}"
        found[language] = _one_tokenizer(_mapping(each, at), at, members)
    return {"type": "agg", "langs": found}


def has_tokenizer(config: Mapping[str, Any]) -> bool:
    """Whether the model has a tokenizer, instead of an alphabet in its configuration."""
    return "BPE" in model_class(config)


def _one_tokenizer(
    section: Mapping[str, Any], place: str, members: Mapping[str, Path]
) -> dict[str, Any]:
    kind = str(section.get("type")).lower()
    if kind != "bpe":  # for WordPiece, NeMo downloads a model from a hub
        raise EngineError(
            f"{place}.type is {shown(section.get('type'))}; supported are bpe and agg"
        )
    # these files are never read, but a path outside the archive is refused
    for key in ("vocab_path", "spe_tokenizer_vocab"):
        name = section.get(key)
        if name is not None and not str(name).startswith("nemo:"):
            _member(name, f"{place}.{key}", members)
    name = section.get("model_path", f"{section.get('dir')}/tokenizer.model")
    return {"type": kind, "model": _member(name, f"{place}.model_path", members)}


def _member(name: Any, place: str, members: Mapping[str, Path]) -> Path:
    """The member that ``nemo:NAME`` or, in files of NeMo 1.0, a path names.

    Of a path, only its last part is used.
    """
    if isinstance(name, str):
        local = name.removeprefix("nemo:")
        for each in (local, local if name != local else PurePosixPath(local).name):
            if each in members:
                return members[each]
    raise EngineError(f"{place} names {shown(name)}, which is not in the archive")
