"""Turn an untrusted `model_config.yaml` into a configuration that is safe to load.

The safe configuration is built only from what `serve_app.engines.nemo.allow_list` allows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serve_app.engines.errors import EngineError, shown
from serve_app.engines.nemo.allow_list import (
    ACTIVATIONS,
    ALLOWED_CLASSES,
    DECODING_KEYS,
    DROPPED_SECTIONS,
    FILE_KEYS,
    GREEDY_KEYS,
    HEADS,
    MODELS,
    MULTITASK,
    MULTITASK_CLASSES,
    MULTITASK_SECTIONS,
    PLAIN_SECTIONS,
    PROMPT_FORMATS,
    AllowedClass,
)
from serve_app.engines.nemo.plain_yaml import check_plain, parse_yaml
from serve_app.engines.nemo.values import mapping, plain, refuse_interpreted, values

#: Most tokens that a multitask model writes beyond the frames of its clip, where its file does not
#: say: NeMo's value.
_MORE_TOKENS = 50


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
    name = model_class(config)
    safe: dict[str, Any] = {"target": f"{MODELS}.{name}"}
    if has_tokenizer(config):
        config = _without_vocabulary(config)
    if name == MULTITASK:
        safe |= _multitask(config)
        config = {key: each for key, each in config.items() if key not in safe}
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
                safe[key] = plain(value, key)
            case _ if key not in DROPPED_SECTIONS:
                refuse_interpreted(key, key)
                plain(value, key)
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


def _multitask(config: Mapping[str, Any]) -> dict[str, Any]:
    """The sections that only a multitask model has, or has otherwise than other models."""
    made = dict(MULTITASK_SECTIONS)
    for key, known in MULTITASK_CLASSES.items():
        made[key] = _optional_class(config.get(key), key, known)
    head = made["head"] or {}
    if head.get("activation", "relu") not in ACTIVATIONS:
        allowed = ", ".join(ACTIVATIONS)
        raise EngineError(f"head.activation is {shown(head['activation'])}; allowed are: {allowed}")
    made["prompt_format"] = config.get("prompt_format")
    if made["prompt_format"] not in PROMPT_FORMATS:
        raise EngineError(
            f"prompt_format is {shown(made['prompt_format'])}; "
            f"supported are: {', '.join(PROMPT_FORMATS)}"
        )
    made["prompt_defaults"] = plain(config.get("prompt_defaults"), "prompt_defaults")
    made["decoding"] = _multitask_decoding(config.get("decoding"), "decoding")
    return made


def _multitask_decoding(value: Any, place: str) -> dict[str, Any]:
    """Greedy search, which writes what NeMo's default does: a beam of one."""
    section = plain(mapping(value or {}, place), place)
    name = "beam" if section.get("strategy", "beam") == "beam" else "greedy"
    most = mapping(section.get(name) or {}, f"{place}.{name}").get("max_generation_delta")
    known = isinstance(most, int) and most >= 0
    return {
        "strategy": "greedy_batch",
        "greedy": {
            "temperature": None,
            "n_samples": 1,
            "max_generation_delta": most if known else _MORE_TOKENS,
        },
    }


def transformer_size(config: Mapping[str, Any]) -> int:
    """How many numbers the transformers of a multitask model have at least, without building them.

    NeMo copies their layers, which nothing can count on the way.

    Args:
        config: as `safe_config` returns it.

    Raises:
        EngineError: a size is missing, or is no number.
    """
    total = 0
    encoder, decoder = (config.get(key) or {} for key in ("transf_encoder", "transf_decoder"))
    for place, section, attentions in (
        ("transf_encoder", encoder if encoder.get("num_layers") else {}, 1),
        ("transf_decoder.config_dict", decoder.get("config_dict") or {}, 2),
    ):
        if not section:
            continue
        hidden = _size(section, "hidden_size", place)
        layer = hidden * (4 * attentions * hidden + 2 * _size(section, "inner_size", place))
        total += _size(section, "num_layers", place) * layer
        if "max_sequence_length" in section:
            total += _size(section, "max_sequence_length", place) * hidden
    return total


def _size(section: Mapping[str, Any], key: str, place: str) -> int:
    found = section.get(key)
    if not isinstance(found, int) or found < 0:
        raise EngineError(f"{place}.{key} is {shown(found)}, not a size")
    return found


def _optional_class(
    value: Any, place: str, known: Mapping[str, AllowedClass]
) -> dict[str, Any] | None:
    """As `_class_section`; None for null."""
    return None if value is None else _class_section(value, place, known)


def _class_section(value: Any, place: str, known: Mapping[str, AllowedClass]) -> dict[str, Any]:
    """Check a section that names a class: one of `known`, with arguments that the class has."""
    section = mapping(value, place)
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
            made[key] = plain(each, at)
        elif key in part.arguments:
            made[key] = values(each, at)
        elif each is not None:  # null: an unset argument of another version of NeMo
            refuse_interpreted(key, at)
            raise EngineError(f"{at}: {name} has no argument {shown(key)}")
    return made


def _adapters(value: Any, place: str) -> dict[str, Any]:
    """The configuration of each adapter, by name; and what NeMo stores for all of them."""
    made: dict[str, Any] = {}
    for key, each in mapping(value, place).items():
        at = f"{place}.{key}"
        if key == "global_cfg":
            made[key] = plain(each, at)
            continue
        refuse_interpreted(key, at)
        section = dict(mapping(each, at))
        enabled = section.pop("enabled", True)
        adapter = _class_section(section, at, ALLOWED_CLASSES["adapters"])
        made[key] = adapter | {"enabled": bool(enabled)}
    return made


def _aux_ctc(value: Any, place: str) -> dict[str, Any]:
    """The CTC head of a hybrid model."""
    made: dict[str, Any] = {}
    for key, each in mapping(value, place).items():
        at = f"{place}.{key}"
        if key == "decoder":
            made[key] = _optional_class(each, at, ALLOWED_CLASSES[at])
        elif key == "decoding":
            made[key] = _decoding(each, at)
        else:
            refuse_interpreted(key, at)
            made[key] = plain(each, at)
    return made


def _decoding(value: Any, place: str) -> dict[str, Any] | None:
    if value is None:
        return None
    section = plain(mapping(value, place), place)
    greedy = mapping(section.get("greedy") or {}, f"{place}.greedy")
    _refuse_files(greedy, f"{place}.greedy")
    kept = {key: values(each, place) for key, each in section.items() if key in DECODING_KEYS}
    return kept | {
        "strategy": "greedy_batch",
        "greedy": {key: values(each, place) for key, each in greedy.items() if key in GREEDY_KEYS},
    }


def _refuse_files(section: Mapping[str, Any], place: str) -> None:
    for key, each in section.items():
        at = f"{place}.{key}"
        if key in FILE_KEYS and each:
            raise EngineError(f"{at} names a file outside the archive; remove it")
        if isinstance(each, dict):
            _refuse_files(each, at)


def has_tokenizer(config: Mapping[str, Any]) -> bool:
    """Whether the model has a tokenizer, instead of an alphabet in its configuration."""
    name = model_class(config)
    return "BPE" in name or name == MULTITASK
