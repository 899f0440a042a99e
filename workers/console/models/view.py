"""What the pages show of a registry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.model_card import ModelCard, Refusal
from schemas.model_reference import followed_alias
from schemas.settings import Settings
from serve_app.registry.registry import Registry
from workers.models.cards import aliases_by_version


@dataclass(frozen=True)
class Overview:
    """A model on the page of all.

    Attributes:
        name: of the model.
        versions: how many it has.
        latest: card of the last one.
        aliases: what each names, by alias.
        served_as: models of the settings that follow one of them, by alias.
    """

    name: str
    versions: int
    latest: ModelCard
    aliases: dict[str, str]
    served_as: dict[str, list[str]]


@dataclass(frozen=True)
class Span:
    """A time in which an alias named a version.

    Attributes:
        version: that it named.
        since: when that began, UTC, ISO 8601.
        until: when it ended; None for now.
        by: who moved the alias.
        why: in words.
        back: whether the move took the one before it back.
        refused: why the version did not serve, if a replica said so.
    """

    version: str
    since: str
    until: str | None
    by: str
    why: str
    back: bool
    refused: Refusal | None


@dataclass(frozen=True)
class AliasView:
    """An alias: what it names, and what it has named, the latest first."""

    alias: str
    version: str
    served_as: Sequence[str]
    spans: Sequence[Span]
    can_go_back: bool


@dataclass(frozen=True)
class ModelView:
    """A model: its versions, the latest first, with the aliases of each; and its aliases."""

    name: str
    cards: Sequence[ModelCard]
    named: dict[str, list[str]]
    aliases: Sequence[AliasView]


def overview(registry: Registry, settings: Settings) -> list[Overview]:
    """All models of a registry, by name. Blocks; raises as `Registry.card`."""
    found = []
    for name in registry.names():
        versions = registry.versions(name)
        card = registry.card(name, versions[-1])
        found.append(
            Overview(name, len(versions), card, registry.aliases(name), _followers(settings, name))
        )
    return found


def model_view(registry: Registry, settings: Settings, name: str) -> ModelView:
    """A model with its history. Blocks.

    Raises:
        UnknownModelError: there is none.
        RegistryFaultError: a card cannot be read.
    """
    versions = registry.versions(name)
    if not versions:
        registry.card(name, "latest")  # which says what there is
    cards = [registry.card(name, each) for each in reversed(versions)]
    followers = _followers(settings, name)
    aliases = [
        _alias_view(registry, name, alias, version, followers.get(alias, []))
        for alias, version in registry.aliases(name).items()
    ]
    return ModelView(name, cards, aliases_by_version(registry, name), aliases)


def _alias_view(
    registry: Registry, name: str, alias: str, version: str, served_as: Sequence[str]
) -> AliasView:
    moves = registry.history(name, alias)
    ends = [*(each.move.at for each in moves[1:]), None]
    spans = [
        Span(
            version=each.move.version,
            since=each.move.at,
            until=until,
            by=each.move.by,
            why=each.move.why,
            back=each.move.back,
            refused=each.refused,
        )
        for each, until in zip(moves, ends, strict=True)
    ]
    # each move back takes one other away, itself included
    standing = len(moves) - 2 * sum(each.move.back for each in moves)
    return AliasView(alias, version, served_as, spans[::-1], standing > 1)


def _followers(settings: Settings, name: str) -> dict[str, list[str]]:
    """Models of the settings that follow an alias of a model, by that alias."""
    found: dict[str, list[str]] = {}
    for model, each in settings.models.items():
        reference = followed_alias(each.model)
        if reference is not None and reference.name == name:
            found.setdefault(str(reference.alias), []).append(model)
    return found
