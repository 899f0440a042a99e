"""From what a caller names, a path or a name of the settings, to what can be measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from schemas.model_card import ModelCard
from schemas.settings import AUTO, ModelSettings, Settings
from workers.evaluation.plan_system import PlanSystem
from workers.evaluation.systems import ModelSystem, System
from workers.finetune.versions import CARD, MODEL, read_card

#: What a caller may name: a system, or a path of a `.nemo` file or of a version's folder.
Named = System | str | Path


#: What names are looked up in: a settings file, or just its models.
Known = Settings | Mapping[str, ModelSettings]


def as_systems(named: Sequence[Named], known: Known | None = None) -> list[System]:
    """The systems that `named` means.

    A text is a name of a model or a plan in `known`, or "auto" for its rules; or ``path``, of a
    `.nemo` file or of a folder that holds `model.nemo` (what `chorus finetune` makes). ``NAME=``
    before it gives it a name; a file's name without its ending, and a version's model, are the
    names of those that bring none.

    Raises:
        ValueError: there is no such model, or two have one name; the message says what to do.
        OSError: the calibration of the settings cannot be read.
    """
    found = [
        _by_text(str(each), known or {}) if isinstance(each, str | Path) else each for each in named
    ]
    if not found:
        raise ValueError("no model is given")
    names = [each.name for each in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two models are called {', '.join(twice)}; name them: NAME=PATH")
    return found


def _by_text(text: str, known: Known) -> System:
    name, equals, rest = text.partition("=")
    source = rest if equals else text
    models = known.models if isinstance(known, Settings) else known
    if source in models:
        return ModelSystem(name, models[source], domain=source)
    if isinstance(known, Settings) and (source in known.plans or source == AUTO):
        return PlanSystem(name, source, known)
    path = Path(source)
    if path.is_dir():
        given = name if equals else _version_name(path)
        card = path / CARD
        path = path / MODEL
    else:
        given = name if equals else path.stem
        card = path.with_suffix(".json")
    if not path.is_file():
        plans = [*known.plans, AUTO] if isinstance(known, Settings) else []
        names = ", ".join([*models, *plans])
        there = f"; the settings have {names}" if models else ""
        raise ValueError(f"{source}: no such model file, nor a folder with a {MODEL}{there}")
    alone = ModelSettings(path=str(path.absolute()), gpu_fraction=1.0)
    return ModelSystem(given, alone, domain=_domain(card))


def _version_name(folder: Path) -> str:
    """`medical:2` for .../medical/2."""
    folder = folder.absolute()
    return f"{folder.parent.name}:{folder.name}" if folder.name.isdigit() else folder.name


def _domain(card: Path) -> str:
    try:
        found: ModelCard = read_card(card)
    except (OSError, msgspec.DecodeError):
        return "general"
    return found.domain
