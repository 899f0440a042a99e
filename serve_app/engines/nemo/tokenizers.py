"""Find the tokenizer of an untrusted configuration among the members of its archive."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from serve_app.engines.errors import EngineError, shown
from serve_app.engines.nemo.allow_list import CUSTOM_TOKENIZERS
from serve_app.engines.nemo.configuration import has_tokenizer
from serve_app.engines.nemo.values import mapping, plain

_LANGUAGE = re.compile(r"[A-Za-z0-9_-]+")


def tokenizer_files(config: Mapping[str, Any], members: Mapping[str, Path]) -> dict[str, Any]:
    """Find the SentencePiece models of a configuration among the members of the archive.

    Args:
        config: plain, see `parse_config`.
        members: the file of each member of the archive, by name.

    Returns:
        ``{"type": "bpe", "model": file}``; with a tokenizer for each language ``{"type": "agg",
        "langs": {language: {...}}}``; either with the "custom_tokenizer" of a multitask model; an
        empty mapping for a model that writes single characters.

    Raises:
        EngineError: it names another file, a class, or another kind of tokenizer.
    """
    if not has_tokenizer(config):
        return {}
    place = "tokenizer"
    section = dict(mapping(config.get(place), place))
    kind = str(section.get("type")).lower()
    custom = _custom(section.pop("custom_tokenizer", None), f"{place}.custom_tokenizer", kind)
    section = plain(section, place)
    if kind != "agg":
        return _one_tokenizer(section, place, members) | custom
    languages = mapping(section.get("langs"), f"{place}.langs")
    if not languages:
        raise EngineError(f"{place}.langs is empty")
    found = {}
    for language, each in languages.items():
        if not _LANGUAGE.fullmatch(language):
            raise EngineError(f"{place}.langs: {shown(language)} is not a valid name of a language")
        at = f"{place}.langs.{language}"
        found[language] = _one_tokenizer(mapping(each, at), at, members)
    return {"type": "agg", "langs": found} | custom


def _custom(value: Any, place: str, kind: str) -> dict[str, Any]:
    """The section that names the class that wraps the tokenizers of a kind."""
    if value is None:
        return {}
    section = dict(mapping(value, place))
    target, known = section.pop("_target_", None), CUSTOM_TOKENIZERS.get(kind)
    if target != known or any(each is not None for each in section.values()):
        raise EngineError(f"{place} is not allowed, other than {known} without arguments")
    return {"custom_tokenizer": {"_target_": target}}


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
