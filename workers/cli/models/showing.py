"""`chorus models list, show, history, diff, verify`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers import exit_codes
from workers.cli.common import JsonOption, OptionalSettings, fail, print_json
from workers.cli.models.common import (
    AliasOption,
    NameArgument,
    OptionalName,
    ReferenceArgument,
    RegistryOption,
    explained,
    open_registry,
    resolved,
)

if TYPE_CHECKING:
    from schemas.model_card import ModelCard


@explained
def list_models(
    name: OptionalName = None,
    registry: RegistryOption = None,
    settings_file: OptionalSettings = None,
    as_json: JsonOption = False,
) -> None:
    """List the models, or the versions of one of them with their aliases and WER."""
    from workers.models.cards import aliases_by_version

    found = open_registry(registry, settings_file)
    names = found.names() if name is None else [name]
    if name is not None and not found.versions(name):
        found.card(name, "latest")  # which says what there is
    cards = [found.card(each, version) for each in names for version in found.versions(each)]
    aliases = {each: aliases_by_version(found, each) for each in names}
    if as_json:
        for card in cards:
            print_json(_row(card, aliases[card.name].get(card.version, [])))
        return
    if name is None:
        cards = list({card.name: card for card in cards}.values())
        counts = {each: len(found.versions(each)) for each in names}
        _print_models(cards, counts, aliases)
    else:
        _print_versions(cards, aliases[name])


@explained
def show(
    model: ReferenceArgument,
    registry: RegistryOption = None,
    settings_file: OptionalSettings = None,
    as_json: JsonOption = False,
) -> None:
    """Show the card of a version."""
    import msgspec

    from workers.models.cards import aliases_by_version, card_lines

    found = open_registry(registry, settings_file)
    card = resolved(found, model)
    aliases = aliases_by_version(found, card.name).get(card.version, [])
    if as_json:
        print_json({**msgspec.to_builtins(card), "aliases": aliases})
        return
    for key, value in card_lines(card, aliases):
        print(f"{key + ':':22} {value}")


@explained
def history(
    name: NameArgument,
    alias: AliasOption = "production",
    registry: RegistryOption = None,
    settings_file: OptionalSettings = None,
    as_json: JsonOption = False,
) -> None:
    """Show which versions an alias has named, since when, by whom and why.

    Of a version that a replica could not load, the reason is below it.
    """
    import msgspec

    from workers.models.cards import minute

    moves = open_registry(registry, settings_file).history(name, alias)
    if as_json:
        for each in moves:
            refused = msgspec.to_builtins(each.refused) if each.refused else None
            print_json(
                {"number": each.number, **msgspec.to_builtins(each.move), "refused": refused}
            )
        return
    rows = []
    for each in moves:
        move = each.move
        what = f"back to {move.version}" if move.back else move.version
        rows.append((str(each.number), minute(move.at), what, move.by, move.why))
        if each.refused is not None:
            rows.append(("", minute(each.refused.at), "refused", each.refused.by, each.refused.why))
    _print_table(("", "since", "version", "by", "why"), rows)


@explained
def verify(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL", help="NAME, NAME@ALIAS or NAME:VERSION. Default: all."),
    ] = None,
    registry: RegistryOption = None,
    settings_file: OptionalSettings = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the files of versions with the sizes and digests in their cards.

    Exits with 1 if a file is missing or differs.
    """
    from serve_app.registry.local_copy import version_faults

    found = open_registry(registry, settings_file)
    if models:
        cards = [resolved(found, model) for model in models]
    else:
        cards = [found.card(name, each) for name in found.names() for each in found.versions(name)]
    damaged = 0
    for card in cards:
        faults = version_faults(found.store, card)
        damaged += bool(faults)
        if as_json:
            print_json({"name": card.name, "version": card.version, "faults": faults})
        else:
            print(f"{card.name}:{card.version}: {'; '.join(faults) or 'as registered'}")
    if damaged:
        versions = "1 version is" if damaged == 1 else f"{damaged} versions are"
        fail(f"{versions} not as registered", exit_codes.FAILURE)


@explained
def diff(
    model: ReferenceArgument,
    other: Annotated[str, typer.Argument(metavar="OTHER", help="The version to compare with.")],
    registry: RegistryOption = None,
    settings_file: OptionalSettings = None,
    as_json: JsonOption = False,
) -> None:
    """Show in what two versions differ."""
    import msgspec

    from workers.models.cards import card_lines

    found = open_registry(registry, settings_file)
    cards = [resolved(found, each) for each in (model, other)]
    first, second = (dict(card_lines(card, [])) for card in cards)
    keys = [key for key in {**first, **second} if first.get(key) != second.get(key)]
    if as_json:
        values = [msgspec.to_builtins(card) for card in cards]
        keys = sorted({key for each in values for key in each})
        changed = [key for key in keys if values[0].get(key) != values[1].get(key)]
        print_json({key: [each.get(key) for each in values] for key in changed})
        return
    heads = ("", *(f"{card.name}:{card.version}" for card in cards))
    _print_table(heads, [(key, first.get(key, ""), second.get(key, "")) for key in keys])


def _row(card: ModelCard, aliases: Sequence[str]) -> dict[str, Any]:
    return {
        "name": card.name,
        "version": card.version,
        "aliases": aliases,
        "domain": card.domain,
        "made": card.made,
        "wer": None if card.validation is None else card.validation.after,
        "bytes": card.bytes,
        "sha256": card.sha256,
    }


def _print_models(
    latest: Sequence[ModelCard],
    counts: dict[str, int],
    aliases: dict[str, dict[str, list[str]]],
) -> None:
    rows = []
    for card in latest:
        named = sorted(aliases[card.name].items(), key=lambda item: int(item[0]))
        where = ", ".join(f"{alias}={version}" for version, each in named for alias in each)
        rows.append((card.name, str(counts[card.name]), card.version, where, card.domain))
    _print_table(("model", "versions", "latest", "aliases", "domain"), rows)


def _print_versions(cards: Sequence[ModelCard], aliases: dict[str, list[str]]) -> None:
    from serve_app.system.sizes import size_text
    from workers.models.cards import minute, wer_text

    rows = []
    for card in cards:
        names = ", ".join(aliases.get(card.version, []))
        wer = wer_text(card.validation)
        row = (
            card.version,
            names,
            minute(card.made),
            wer,
            size_text(card.bytes),
            card.sha256[:12],
        )
        rows.append(row)
    _print_table(("version", "aliases", "made", "WER % on validation", "size", "sha256"), rows)


def _print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.table import Table

    from workers.cli.tables import people_console

    table = Table(box=None, pad_edge=False)
    for head in heads:
        table.add_column(head)
    for row in rows:
        table.add_row(*row)
    people_console().print(table)
