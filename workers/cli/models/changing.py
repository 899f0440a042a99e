"""`chorus models register, import, promote, rollback, gc`."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers import exit_codes
from workers.cli.common import JsonOption, OptionalSettings, fail, print_json
from workers.cli.models.common import (
    AliasOption,
    ByOption,
    NameArgument,
    ReferenceArgument,
    RegistryOption,
    WhyOption,
    explained,
    open_registry,
    resolved,
)

if TYPE_CHECKING:
    from schemas.model_card import ImportFacts, ModelCard
    from serve_app.registry.aliases import Moved
    from serve_app.registry.registry import Registry


DomainOption = Annotated[str | None, typer.Option(help="What the model is for.")]
LanguageOption = Annotated[
    list[str] | None, typer.Option(help="A language that it transcribes; repeatable.")
]
LicenceOption = Annotated[str | None, typer.Option(help="Its licence.")]
EngineOption = Annotated[str, typer.Option(help="Engine that runs it, as in the settings.")]
TrialOption = Annotated[
    bool,
    typer.Option(
        help="Load the model in a process of its own first, and let it transcribe; an engine of "
        "your own must be there for it."
    ),
]


@explained
def register(
    name: NameArgument,
    source: Annotated[
        str, typer.Argument(help="A .nemo file, or a folder with the files of a model.")
    ],
    domain: DomainOption = None,
    language: LanguageOption = None,
    licence: LicenceOption = None,
    parent: Annotated[
        str | None, typer.Option(help="The version that it was made from, NAME:VERSION.")
    ] = None,
    engine: EngineOption = "nemo",
    trial: TrialOption = True,
    by: ByOption = None,
    registry: RegistryOption = None,
    settings_file: OptionalSettings = None,
    as_json: JsonOption = False,
) -> None:
    """Register a model from this machine as the next version; its files are checked and copied.

    Before that it is loaded in a process of its own, where it must transcribe. A model whose files
    are registered already keeps its version.
    """
    options = {"domain": domain, "languages": language, "licence": licence, "parent": parent}
    target = open_registry(registry, settings_file)
    _register(target, name, source, options, engine=engine, trial=trial, by=by, as_json=as_json)


@explained
def import_model(
    name: NameArgument,
    source: Annotated[
        str,
        typer.Argument(
            help="hf:OWNER/MODEL@REVISION, of which a branch or tag is pinned to the commit that "
            "it names; mlflow:/models/NAME/VERSION or mlflow:/models/NAME@ALIAS, on the server "
            "that MLFLOW_TRACKING_URI names."
        ),
    ],
    file: Annotated[
        str | None, typer.Option(help="Of several .nemo files there, the one to take.")
    ] = None,
    engine: EngineOption = "nemo",
    aliases: Annotated[
        bool,
        typer.Option(
            "--aliases",
            help="Set the aliases that the version has in MLflow here, too; replicas follow them.",
        ),
    ] = False,
    domain: DomainOption = None,
    language: LanguageOption = None,
    licence: LicenceOption = None,
    trial: TrialOption = True,
    by: ByOption = None,
    registry: RegistryOption = None,
    settings_file: OptionalSettings = None,
    as_json: JsonOption = False,
) -> None:
    """Download a model from a hub, check and try it, and register it as the next version."""
    from workers.models.mlflow_source import MLFLOW
    from workers.models.sources import HUB

    if not source.startswith((HUB, MLFLOW)):
        fail(
            f"{source}: no model of a hub ({HUB}OWNER/MODEL@REVISION, {MLFLOW}NAME/VERSION); "
            "`chorus models register` takes files of this machine",
            exit_codes.SETTINGS,
        )
    options = {"domain": domain, "languages": language, "licence": licence}
    target = open_registry(registry, settings_file)
    card, found = _register(
        target,
        name,
        source,
        options,
        engine=engine,
        file=file,
        trial=trial,
        by=by,
        as_json=as_json,
    )
    if found.imported is not None:
        _take_over_aliases(target, card, found.imported, by, set_them=aliases, as_json=as_json)


@explained
def promote(
    model: ReferenceArgument,
    alias: AliasOption = "production",
    why: WhyOption = "",
    by: ByOption = None,
    registry: RegistryOption = None,
    settings_file: OptionalSettings = None,
    as_json: JsonOption = False,
) -> None:
    """Let an alias name a version from now on: replicas that serve the alias load it."""
    found = open_registry(registry, settings_file)
    card = resolved(found, model)
    before = found.aliases(card.name).get(alias)
    moved = found.promote(card.name, card.version, alias, why=why, by=by)
    _say_moved(card.name, alias, before, moved, as_json)


@explained
def rollback(
    name: NameArgument,
    alias: AliasOption = "production",
    why: WhyOption = "",
    by: ByOption = None,
    registry: RegistryOption = None,
    settings_file: OptionalSettings = None,
    as_json: JsonOption = False,
) -> None:
    """Take the last move of an alias back; again, the one before it."""
    found = open_registry(registry, settings_file)
    before = found.aliases(name).get(alias)
    moved = found.rollback(name, alias, why=why, by=by)
    _say_moved(name, alias, before, moved, as_json)


@explained
def gc(
    days: Annotated[
        float, typer.Option(min=0, help="Keep what an alias has named within so many days.")
    ] = 30.0,
    delete: Annotated[
        bool, typer.Option("--delete", help="Remove them; otherwise they are only listed.")
    ] = False,
    in_use: Annotated[
        list[str] | None,
        typer.Option(help="Keep the version with this SHA-256 digest too; repeatable."),
    ] = None,
    registry: RegistryOption = None,
    settings_file: OptionalSettings = None,
    as_json: JsonOption = False,
) -> None:
    """Remove versions that no alias has named for a time, and versions that were never finished.

    The last version of each model is kept, as is what was registered within the time, and the
    candidate of a rollout that is under way. The number of a removed version is never used again.
    """
    import msgspec

    from serve_app.registry.collecting import collect, find_garbage
    from serve_app.system.sizes import size_text

    found, unused = open_registry(registry, settings_file), timedelta(days=days)
    kept = [*(in_use or ()), *_candidates(found)]
    garbage = (collect if delete else find_garbage)(found, unused, kept)
    total = count = 0
    for each in garbage:
        total += each.bytes
        count += 1
        if as_json:
            print_json(msgspec.to_builtins(each))
        else:
            state = "unfinished" if each.unfinished else size_text(each.bytes)
            print(f"{each.name}:{each.version}  {state}")
    if not as_json:
        done = "removed" if delete else "would be removed by --delete"
        print(f"{count} version{'' if count == 1 else 's'} {done}, {size_text(total)}")


def _candidates(registry: Registry) -> list[str]:
    """The digests of the candidates of rollouts that are under way, which may be paused."""
    from serve_app.rollout.records import Rollouts

    plans = [each.plan for each in Rollouts(registry.store).all() if each.end is None]
    return [registry.card(plan.name, plan.candidate).sha256 for plan in plans]


def _register(
    registry: Registry,
    name: str,
    source: str,
    options: dict[str, Any],
    *,
    engine: str = "nemo",
    file: str | None = None,
    trial: bool,
    by: str | None,
    as_json: bool,
) -> tuple[ModelCard, ModelCard]:
    """Register a model, and return its card as it is stored, and as it was found."""
    import tempfile
    from pathlib import Path

    import msgspec

    from serve_app.engines.trial import try_model
    from serve_app.system.sizes import size_text
    from workers.models.cards import as_version
    from workers.models.sources import find_model

    if parent := options.get("parent"):
        options["parent"] = str(as_version(resolved(registry, parent)))
    with tempfile.TemporaryDirectory(prefix="chorus-import-") as work:
        model = find_model(source, Path(work), engine=engine, file=file)
        if trial:
            try_model(model.settings)
        given = {key: value for key, value in options.items() if value}
        card = msgspec.structs.replace(model.card, **given)
        if not card.domain:
            card.domain = name
        before = registry.versions(name)
        card = registry.register(name, model.files, card, by=by)
    new = int(card.version) not in before
    if as_json:
        print_json({"new": new, **msgspec.to_builtins(card)})
        return card, model.card
    done = "registered" if new else "has these files already"
    print(f"{as_version(card)} {done} ({size_text(card.bytes)}, sha256 {card.sha256[:16]}...)")
    if new:
        print(f"serve it with `chorus models promote {as_version(card)}`")
    return card, model.card


def _take_over_aliases(
    registry: Registry,
    card: ModelCard,
    facts: ImportFacts,
    by: str | None,
    *,
    set_them: bool,
    as_json: bool,
) -> None:
    """Set the aliases that a version has in the registry that it came from, or say which."""
    import re

    from schemas.settings import NAME_PATTERN

    possible = [each for each in facts.aliases if re.fullmatch(NAME_PATTERN, each)]
    for alias in possible if set_them else []:
        before = registry.aliases(card.name).get(alias)
        moved = registry.promote(card.name, card.version, alias, why=f"as in {facts.server}", by=by)
        _say_moved(card.name, alias, before, moved, as_json)
    for alias in sorted({*facts.aliases} - {*possible}) if set_them else []:
        print(f"no alias here can be called {alias}: use a-z, 0-9, _ . -", file=sys.stderr)
    if facts.aliases and not set_them and not as_json:
        there = ", ".join(facts.aliases)
        print(f"there it has the aliases {there}; --aliases sets them here, too")


def _say_moved(name: str, alias: str, before: str | None, moved: Moved, as_json: bool) -> None:
    import msgspec

    if as_json:
        builtins = msgspec.to_builtins(moved.move)
        print_json({"name": name, "alias": alias, "before": before, **builtins})
    else:
        version = moved.move.version
        if before == version:
            print(f"{name}@{alias} is {name}:{version} already, since {moved.move.at}")
            return
        was = f", before {name}:{before}" if before else ""
        print(f"{name}@{alias} is {name}:{version} now{was}")
