"""Read a settings file, and check it as a whole."""

from __future__ import annotations

import contextlib
import copy
import os
import re
from pathlib import Path
from typing import Any

import msgspec
import yaml

from schemas.decoding import reason_and_key, with_known
from schemas.model_reference import REFERENCE_PATTERN
from schemas.settings.audio import is_url
from schemas.settings.models import model_file
from schemas.settings.root import Settings, faults
from schemas.settings.types import NAME_PATTERN, SettingsError
from schemas.settings.values import as_read
from schemas.settings.yaml_reading import YamlText


def load_settings(
    path: str | os.PathLike[str], *, files: bool = True, base: Path | None = None
) -> Settings:
    """Read and check a settings file.

    Relative paths in it (models, audio roots) come back absolute.

    Args:
        path: of the file.
        files: whether the models, folders and other files that it names must exist; not so for
            what talks to Kafka alone, whose machine may have none of them.
        base: folder that relative paths are relative to; that of the file by default.

    Raises:
        SettingsError: the file cannot be read, is not YAML, has an unknown key, a wrong type or
            value, or contradicts itself. All contradictions are named at once.
    """
    path = Path(path)
    text = _read(path)
    settings = _decode(path, text)
    base = path.resolve().parent if base is None else base
    found = faults(settings, base if files else None)
    problems = [f"{_place(path, text, key)}: {reason}" for key, reason in found]
    if problems:
        raise SettingsError("\n".join(problems))
    _make_paths_absolute(settings, base)
    return settings


def settings_from(content: Any) -> Settings:
    """Check settings that come as an object, as JSON has it, with absolute paths.

    The files that they name need not exist.

    Raises:
        SettingsError: as `load_settings`.
    """
    try:
        settings = msgspec.convert(content, Settings, strict=True)
    except msgspec.ValidationError as error:
        reason, key = with_known(*reason_and_key(error), Settings)
        raise SettingsError(f"{key}: {reason}") from None
    if problems := [f"{key}: {reason}" for key, reason in faults(settings, None)]:
        raise SettingsError("\n".join(problems))
    return settings


def key_place(path: Path, key: str) -> str:
    """Where `key` stands in the settings file at `path`, as in its errors: ``file:line: key``."""
    return _place(path, _read(path), key)


def _read(path: Path) -> YamlText:
    try:
        return YamlText(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise SettingsError(f"{path}: cannot be read: {reason}") from None
    except yaml.YAMLError as error:
        place, problem = str(path), str(error)
        if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
            place, problem = f"{path}:{error.problem_mark.line + 1}", error.problem or problem
        raise SettingsError(f"{place}: not valid YAML: {problem}") from None


def _decode(path: Path, text: YamlText) -> Settings:
    with contextlib.suppress(msgspec.ValidationError):
        return msgspec.convert(text.value, Settings, strict=True)
    text.value = as_read(text.value, Settings)  # for most files there is no need to look
    try:
        return msgspec.convert(text.value, Settings, strict=True)
    except msgspec.ValidationError as error:
        reason, key = with_known(*reason_and_key(error), Settings)
        key = _with_names(key, text.value, error)
        if REFERENCE_PATTERN in reason:
            reason = (
                "a registered model is NAME, NAME@ALIAS or NAME:VERSION, where the version is a "
                "number, `latest` or `newest`"
            )
        elif NAME_PATTERN in reason:
            reason = (
                "a name has only lower-case letters, digits, `_`, `.` and `-`, begins with a "
                "letter or digit, and has at most 63 characters"
            )
        if " - at `key` in " in str(error) and reason.startswith("Expected `str`"):
            reason += "; put the name in quotes"
        reason = _said_of_mapping(reason, whole=not key)
        if re.match(r"Expected `bool\b.*, got `str`", reason):  # yes, no, on, off
            reason += "; write `true` or `false`"
        raise SettingsError(f"{_place(path, text, key)}: {reason}") from None


_KINDS = {"array": "a list", "str": "a text", "bool": "true or false"}


def _said_of_mapping(reason: str, *, whole: bool) -> str:
    """`reason` in plain words where something else stands in place of keys with values.

    Args:
        reason: as msgspec says it.
        whole: whether it is about the whole file.
    """
    found = re.fullmatch(r"Expected `object(?: \| null)?`, got `(\w+)`", reason)
    if found is None:
        return reason
    if found[1] != "null":
        return f"keys with values are expected, and this is {_KINDS.get(found[1], 'a number')}"
    if whole:
        return "the file is empty; `chorus init` writes one to start from"
    return "nothing stands under this key; fill it, or leave the key out"


def _with_names(key: str, whole: Any, error: msgspec.ValidationError) -> str:
    """`key` with the names of the entries at fault in place of each ``[...]``.

    Args:
        key: path of the key at fault, see `reason_and_key`.
        whole: the whole file, as plain data.
        error: what decoding it raised.
    """
    path: list[Any] = []
    text = ""
    for part in re.findall(r"\[[^\]]*\]|[^.\[\]]+", key):
        if part == "[...]":
            names = list(_at(whole, path))
            path.append(next((n for n in names if _fails_alone(whole, [*path, n], error)), part))
            text += f".{path[-1]}"
        elif part.startswith("["):
            path.append(int(part[1:-1]))
            text += part
        else:
            path.append(part)
            text += f".{part}"
    return text.removeprefix(".")


def _fails_alone(whole: Any, path: list[Any], error: msgspec.ValidationError) -> bool:
    """Whether the file has the same error with `path` as the only entry of its mapping."""
    alone = copy.deepcopy(whole)
    *folder, name = path
    mapping = _at(alone, folder)
    for other in [each for each in mapping if each is not name]:
        del mapping[other]
    try:
        msgspec.convert(alone, Settings, strict=True)
    except msgspec.ValidationError as raised:
        return str(raised) == str(error)
    return False


def _at(whole: Any, path: list[Any]) -> Any:
    for part in path:
        whole = whole[part]
    return whole


def _place(path: Path, text: YamlText, key: str) -> str:
    """``file:line: key``, or ``file:line`` for the file as a whole."""
    place = f"{path}:{text.line(key)}"
    return f"{place}: {key}" if key else place


def _make_paths_absolute(settings: Settings, base: Path) -> None:
    for model in settings.models.values():
        if model.path is not None:
            path = base / model.path
            model.path = str(model_file(path) if model.engine == "nemo" else path)
    if (registry := settings.registry) is not None:
        if "://" not in registry.url:
            registry.url = str(base / registry.url)
        if registry.cache is not None:
            registry.cache = str(base / registry.cache)
    settings.audio.roots = [
        root if is_url(root) else str(base / root) for root in settings.audio.roots
    ]
    if settings.routing.calibration is not None:
        settings.routing.calibration = str(base / settings.routing.calibration)
    if settings.console.reports is not None:
        settings.console.reports = str(base / settings.console.reports)
