"""Find the systems that a caller names, by path or by a name in the settings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from schemas.model_card import ModelCard
from schemas.model_reference import parse_reference
from schemas.settings import AUTO, PRETRAINED, ModelSettings, Settings
from schemas.text_rules import TextRules
from serve_app.registry.errors import RegistryFaultError, UnknownModelError
from serve_app.registry.source import VersionSource, pinned
from serve_app.registry.versions import CARD, MODEL, read_card, version_number
from workers.evaluation.systems.base import ModelSystem, System
from workers.evaluation.systems.plans import PlanSystem

#: A system, or what names one: a path, or a name in the settings; see `as_systems`.
SystemLike = System | str | Path


#: Where names are looked up: in loaded settings, or only in their models.
SettingsLike = Settings | Mapping[str, ModelSettings]


def as_systems(models: Sequence[SystemLike], settings: SettingsLike | None = None) -> list[System]:
    """Find the systems that a caller names.

    Args:
        models: systems, names or paths. A text is the name of a model or plan in `settings`, or
            "auto" for its routing rules; else the path of a `.nemo` file, or of a folder with a
            `model.nemo` (as `chorus finetune` writes it); or ``pretrained:`` with the name of a
            pretrained model; or a version of the registry, ``NAME@ALIAS`` or ``NAME:VERSION``.
            ``NAME=`` before any of them sets the display name. Without it, a file
            gets its name without suffix, and the folder of a version ``model:number``.
        settings: models, plans and text rules by name; with models alone, texts are as heard.

    Raises:
        ValueError: there is no such model, or two have the same name; the message says what to do.
        OSError: the calibration of the settings cannot be read.
    """
    if isinstance(settings, Settings):
        settings = pinned(settings)
    found = [
        _by_text(str(each), settings or {}) if isinstance(each, str | Path) else each
        for each in models
    ]
    if not found:
        raise ValueError("no model given: name a .nemo file, or a model of the settings")
    names = [each.name for each in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"two models have the same name: {', '.join(twice)}; give names with NAME=PATH"
        )
    return found


def roots_of(settings: SettingsLike | None) -> list[str]:
    """Where relative audio paths are looked up after the manifest's folder."""
    return settings.audio.roots if isinstance(settings, Settings) else []


def split_name(text: str) -> tuple[str | None, str]:
    """The display name and the source in ``NAME=SOURCE``; None without a name.

    A file or folder that exists is taken as it is, since its path may contain "=" too.
    """
    name, equals, source = text.partition("=")
    return (None, text) if not equals or Path(text).exists() else (name, source)


def _by_text(text: str, settings: SettingsLike) -> System:
    name, source = split_name(text)
    models = settings.models if isinstance(settings, Settings) else settings
    if source in models:
        return ModelSystem(
            name or source,
            models[source],
            domain=source,
            rules=_rules(models[source], settings),
        )
    if isinstance(settings, Settings) and (source in settings.plans or source == AUTO):
        return PlanSystem(name or source, source, settings)
    if source.startswith(PRETRAINED):
        pretrained = source.removeprefix(PRETRAINED)
        hub = ModelSettings(pretrained=pretrained, gpu_fraction=1.0)
        return ModelSystem(name or pretrained.rpartition("/")[2], hub)
    path = Path(source)
    if not path.exists() and re.search("[@:]", source):
        return _registered(name, source, settings)
    if path.is_dir():
        default = _version_name(path)
        card = path / CARD
        path = path / MODEL
    else:
        default = path.stem
        card = path.with_suffix(".json")
    if not path.is_file():
        plans = [*settings.plans, AUTO] if isinstance(settings, Settings) else []
        names = ", ".join([*models, *plans])
        there = f"; the settings have {names}" if models else ""
        raise ValueError(
            f"{source}: no such model file, nor a folder with a {MODEL}{there}; a pretrained model "
            f"is named {PRETRAINED}NAME"
        )
    alone = ModelSettings(path=str(path.absolute()), gpu_fraction=1.0)
    return ModelSystem(name or default, alone, domain=_domain(card))


def _registered(name: str | None, text: str, settings: SettingsLike) -> System:
    """A version of the registry, with what the settings say of the model that has its name."""
    try:
        reference = parse_reference(text)
        models = settings.models if isinstance(settings, Settings) else settings
        alone = models.get(reference.name) or ModelSettings(gpu_fraction=1.0)
        model = msgspec.structs.replace(alone, path=None, pretrained=None, sha256=None, model=text)
        registry = settings.registry if isinstance(settings, Settings) else None
        found = VersionSource(model, registry).find()
    except (UnknownModelError, RegistryFaultError) as error:
        raise ValueError(str(error)) from error
    return ModelSystem(
        name or f"{reference.name}:{found.number}",
        found.settings,
        domain=found.card.domain if found.card is not None else "",
        rules=_rules(model, settings),
    )


def _rules(model: ModelSettings, settings: SettingsLike) -> TextRules | None:
    """The text rules of a model; None where only models were given, for the texts as heard."""
    if model.text_rules is None or not isinstance(settings, Settings):
        return None
    return settings.text_rules[model.text_rules]


def _version_name(folder: Path) -> str:
    """Display name of a version's folder: ``medical:2`` for ``.../medical/2``."""
    folder = folder.absolute()
    number = version_number(folder)
    return folder.name if number is None else f"{folder.parent.name}:{number}"


def _domain(card: Path) -> str:
    try:
        found: ModelCard = read_card(card)
    except (OSError, msgspec.DecodeError):
        return "general"
    return found.domain
