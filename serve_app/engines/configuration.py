"""Turn an untrusted `model_config.yaml` into a configuration that is safe to load.

The safe one is built from what `serve_app.engines.parts` allows, and from nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import yaml

from serve_app.engines.errors import EngineError, shown
from serve_app.engines.parts import (
    DECODING,
    DROPPED,
    FILES,
    GREEDY,
    HEADS,
    MODELS,
    PARTS,
    PLAIN,
    Part,
)

#: How deep a configuration may be nested; those of NeMo's models are six deep.
MAX_DEPTH = 32
#: Most values of a list. The longest are alphabets of models that write single characters.
MAX_LIST = 20_000
#: Most values of one. The largest vocabularies have 256,000 pieces, and stand there twice.
MAX_VALUES = 1_000_000

#: Keys that Hydra and NeMo act on, wherever they stand.
_ACTED_ON = re.compile(r"_.*_|cls|params|target")
_LANGUAGE = re.compile(r"[A-Za-z0-9_-]+")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads scalars as OmegaConf, and so NeMo, does; libyaml is ten times as fast as Python.

    Without numbers in base 60, which take quadratic time, and merge keys.
    """

    yaml_implicit_resolvers: ClassVar[dict[Any, Any]] = {}


#: By tag, what a scalar must look like, and its first characters.
_SCALARS = {
    "null": (r"(~|null|Null|NULL|)", ["~", "n", "N", ""]),
    "bool": (
        r"(yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)",
        "yYnNtTfFoO",
    ),
    "int": (
        r"[-+]?(0b[01_]{1,64}|0[0-7_]{0,30}|[1-9][0-9_]{0,30}|0x[0-9a-fA-F_]{1,30})",
        "-+0123456789",
    ),
    "float": (
        r"([-+]?[0-9][0-9_]{0,60}(\.[0-9_]{0,60}([eE][-+]?[0-9]{1,10})?|[eE][-+]?[0-9]{1,10})"
        r"|\.[0-9_]{1,60}([eE][-+][0-9]{1,10})?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))",
        "-+0123456789.",
    ),
}
for _tag, (_pattern, _starts) in _SCALARS.items():
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^{_pattern}$"), list(_starts)
    )


def parse_config(text: str) -> dict[str, Any]:
    """The mapping that `text`, a configuration in YAML, holds, without its `DROPPED` sections.

    Raises:
        EngineError: as `parse_yaml`; or it holds an interpolation, which would be filled in from
            this process's environment.
    """
    config = parse_yaml(text)
    kept = {key: each for key, each in config.items() if key not in DROPPED}
    check_plain(kept)
    return kept


def parse_yaml(text: str) -> dict[Any, Any]:
    """The mapping that `text` holds.

    Raises:
        EngineError: it is not a mapping in YAML, has tags, has aliases (one may expand to
            millions of values), or more than `MAX_VALUES` values or `MAX_DEPTH` levels.
    """
    try:
        _check_events(text)
        config = yaml.load(text, _Loader)
    except EngineError:
        raise
    except Exception as error:  # what a damaged or hostile text makes PyYAML raise
        raise EngineError(f"is not plain YAML: {str(error)[:300]}") from None
    if not isinstance(config, dict):
        raise EngineError("is not a mapping")
    return config


def _check_events(text: str) -> None:
    depth = 0
    for number, event in enumerate(yaml.parse(text, _Loader)):
        if number > MAX_VALUES:
            raise EngineError(f"has more than {MAX_VALUES} values")
        if isinstance(event, yaml.AliasEvent):
            raise EngineError("contains YAML aliases")
        if (tag := getattr(event, "tag", None)) is not None:
            raise EngineError(f"contains a YAML tag, {shown(tag)}")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:  # at once: libyaml takes ever longer for each level
            raise EngineError(f"is nested more than {MAX_DEPTH} deep")


def check_plain(value: Any, place: str = "") -> None:
    """Refuse anything but plain data, see `parse_config`.

    Raises:
        EngineError: the message names the place.
    """
    if isinstance(value, dict):
        for key, each in value.items():
            if not isinstance(key, str):
                raise EngineError(f"has a key that is no text: {shown(key)}")
            check_plain(key, place)
            check_plain(each, f"{place}.{key}" if place else key)
    elif isinstance(value, list):
        for each in value:
            check_plain(each, place)
    elif isinstance(value, str):
        if "${" in value:
            raise EngineError(f"contains an interpolation (${{...}}), at {shown(place)}")
    elif value is not None and not isinstance(value, bool | int | float):
        raise EngineError(f"has a value of type {type(value).__name__} at {shown(place)}")


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
        raise EngineError(f"its model class {shown(target)} is not served; served are: {served}")
    return name


def safe_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of `config` that a model is built from, without its tokenizer.

    Sections for training are left out, and so are those that the models do not know. Decoding is
    reduced to what a greedy search needs.

    Args:
        config: plain, see `parse_config`.

    Raises:
        EngineError: a section that is loaded, or that nobody knows, names a class that is not
            allowed there, an argument that this class does not have, or a file.
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
            case _ if key in PARTS:
                safe[key] = _part(value, key, PARTS[key])
            case _ if key in PLAIN:
                safe[key] = _plain(value, key)
            case _ if key not in DROPPED:
                _refuse_acted_on(key, key)
                _plain(value, key)
    # a stub: without it NeMo's own transcribe() has no defaults, and fails
    safe["validation_ds"] = {
        "manifest_filepath": None,
        "sample_rate": safe.get("sample_rate", 16_000),
        "batch_size": 16,
        "shuffle": False,
        "use_start_end_token": False,
    }
    return safe


def _without_vocabulary(config: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the lists that NeMo replaces by the tokenizer's pieces: they cost it seconds."""
    kept = {key: each for key, each in config.items() if key != "labels"}
    for key in ("decoder", "joint", "aux_ctc"):
        section = kept.get(key)
        if isinstance(section, dict):
            kept[key] = {name: each for name, each in section.items() if name != "vocabulary"}
    if isinstance(kept.get("aux_ctc"), dict):
        kept["aux_ctc"] = _without_vocabulary(kept["aux_ctc"])
    return kept


def _part(value: Any, place: str, known: Mapping[str, Part]) -> dict[str, Any] | None:
    """A section that names a class: one of `known`, with arguments that this class has."""
    if value is None:
        return None
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
            made[key] = _part(each, at, part.parts[key])
        elif key in part.tables:
            made[key] = _plain(each, at)
        elif key in part.arguments:
            made[key] = _values(each, at)
        elif each is not None:  # an argument of another version that is not given
            _refuse_acted_on(key, at)
            raise EngineError(f"{at}: {name} has no argument {shown(key)}")
    return made


def _adapters(value: Any, place: str) -> dict[str, Any]:
    """By the name of an adapter, its configuration; and what NeMo notes of all of them."""
    made: dict[str, Any] = {}
    for key, each in _mapping(value, place).items():
        at = f"{place}.{key}"
        if key == "global_cfg":
            made[key] = _plain(each, at)
            continue
        _refuse_acted_on(key, at)
        section = dict(_mapping(each, at))
        enabled = section.pop("enabled", True)
        adapter = _part(section, at, PARTS["adapters"])
        assert adapter is not None
        made[key] = adapter | {"enabled": bool(enabled)}
    return made


def _aux_ctc(value: Any, place: str) -> dict[str, Any]:
    """The CTC head of a hybrid model."""
    made: dict[str, Any] = {}
    for key, each in _mapping(value, place).items():
        at = f"{place}.{key}"
        if key == "decoder":
            made[key] = _part(each, at, PARTS[at])
        elif key == "decoding":
            made[key] = _decoding(each, at)
        else:
            _refuse_acted_on(key, at)
            made[key] = _plain(each, at)
    return made


def _decoding(value: Any, place: str) -> dict[str, Any] | None:
    if value is None:
        return None
    section = _plain(_mapping(value, place), place)
    greedy = _mapping(section.get("greedy") or {}, f"{place}.greedy")
    _refuse_files(greedy, f"{place}.greedy")
    kept = {key: _values(each, place) for key, each in section.items() if key in DECODING}
    return kept | {
        "strategy": "greedy_batch",
        "greedy": {key: _values(each, place) for key, each in greedy.items() if key in GREEDY},
    }


def _refuse_files(section: Mapping[str, Any], place: str) -> None:
    for key, each in section.items():
        at = f"{place}.{key}"
        if key in FILES and each:
            raise EngineError(f"{at} names a file outside the archive; remove it")
        if isinstance(each, dict):
            _refuse_files(each, at)


def _plain(value: Any, place: str) -> Any:
    """A copy of `value`, which holds nothing that is acted on at any depth."""
    if isinstance(value, dict):
        made = {}
        for key, each in value.items():
            at = f"{place}.{key}"
            _refuse_acted_on(key, at)
            made[key] = _plain(each, at)
        return made
    if isinstance(value, list):
        _check_length(value, place)
        return [_plain(each, place) for each in value]
    return value


def _values(value: Any, place: str) -> Any:
    """A copy of `value`, which holds no mapping."""
    if isinstance(value, list):
        _check_length(value, place)
        return [_values(each, place) for each in value]
    if isinstance(value, dict):
        _plain(value, place)  # where it names a class, that is what to tell
        raise EngineError(f"{place} is a mapping, where a value belongs")
    return value


def _check_length(value: list[Any], place: str) -> None:
    if len(value) > MAX_LIST:  # NeMo copies it again and again
        raise EngineError(f"{place} has more than {MAX_LIST} values")


def _mapping(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise EngineError(f"{place} is not a mapping")
    return value


def _refuse_acted_on(key: str, place: str) -> None:
    if _ACTED_ON.fullmatch(key):
        raise EngineError(f"{shown(place)} is not allowed: nothing is instantiated there")


def tokenizer_files(config: Mapping[str, Any], members: Mapping[str, Path]) -> dict[str, Any]:
    """The SentencePiece models that `config` names, all of them members of the archive.

    Returns:
        ``{"type": "bpe", "model": file}``; with a tokenizer for each language ``{"type": "agg",
        "langs": {language: {...}}}``; an empty one for a model of characters.

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
            raise EngineError(f"{place}.langs: {shown(language)} is not a language")
        at = f"{place}.langs.{language}"
        found[language] = _one_tokenizer(_mapping(each, at), at, members)
    return {"type": "agg", "langs": found}


def has_tokenizer(config: Mapping[str, Any]) -> bool:
    """Whether a tokenizer, not the configuration, decides what the model can write."""
    return "BPE" in model_class(config)


def _one_tokenizer(
    section: Mapping[str, Any], place: str, members: Mapping[str, Path]
) -> dict[str, Any]:
    kind = str(section.get("type")).lower()
    if kind != "bpe":  # for WordPiece, NeMo fetches a model of a hub
        raise EngineError(f"{place}.type is {shown(section.get('type'))}; served are bpe and agg")
    for key in ("vocab_path", "spe_tokenizer_vocab"):  # never read, but a path outside is a lie
        name = section.get(key)
        if name is not None and not str(name).startswith("nemo:"):
            _member(name, f"{place}.{key}", members)
    name = section.get("model_path", f"{section.get('dir')}/tokenizer.model")
    return {"type": kind, "model": _member(name, f"{place}.model_path", members)}


def _member(name: Any, place: str, members: Mapping[str, Path]) -> Path:
    """The member that ``nemo:NAME`` names, or the one with the last name of a path.

    The latter is how NeMo 1.0 wrote it.
    """
    if isinstance(name, str):
        local = name.removeprefix("nemo:")
        for each in (local, local if name != local else PurePosixPath(local).name):
            if each in members:
                return members[each]
    raise EngineError(f"{place} names {shown(name)}, which is not in the archive")
