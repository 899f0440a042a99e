"""The cards of versions in words, for people: on a terminal and on a page."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.model_card import ImportFacts, ModelCard, Wer
from serve_app.registry.registry import Registry
from serve_app.system.sizes import size_text


def as_version(card: ModelCard) -> str:
    """``NAME:VERSION``."""
    return f"{card.name}:{card.version}"


def aliases_by_version(registry: Registry, name: str) -> dict[str, list[str]]:
    """The aliases of each version of a model that has any."""
    found: dict[str, list[str]] = {}
    for alias, version in registry.aliases(name).items():
        found.setdefault(version, []).append(alias)
    return found


def card_lines(card: ModelCard, aliases: Sequence[str] = ()) -> list[tuple[str, str]]:
    """A card as names and values, without what is empty."""
    hours = sum(each.hours for each in card.training)
    lines = {
        "model": as_version(card),
        "aliases": ", ".join(aliases),
        "domain": card.domain,
        "languages": ", ".join(card.languages),
        "licence": card.licence or "",
        "engine": f"{card.engine} {card.model_class}".strip(),
        "parameters": f"{card.parameters:,}" if card.parameters else "",
        "made": card.made,
        "base": card.base,
        "parent": card.parent or "",
        "source": card.source or "",
        **_imported(card.imported),
        "trained on": f"{hours:.2f} h, {card.steps} steps" if card.training else "",
        "WER, validation": wer_text(card.validation),
        **{f"WER, {next(iter(each.data.manifests))}": wer_text(each) for each in card.tests},
        "libraries": ", ".join(f"{key} {value}" for key, value in card.versions.items()),
        "registered": f"{card.registered} by {card.registered_by}" if card.registered else "",
        "size": size_text(card.bytes),
        "sha256": card.sha256,
        "files": ", ".join(card.files),
    }
    return [(key, value) for key, value in lines.items() if value]


def _imported(facts: ImportFacts | None) -> dict[str, str]:
    if facts is None:
        return {}
    return {
        "there": facts.server,
        "run": facts.run or "",
        "aliases there": ", ".join(facts.aliases),
        "tags": ", ".join(f"{key}={value}" for key, value in facts.tags.items()),
        "metrics": ", ".join(f"{key} {value:g}" for key, value in facts.metrics.items()),
    }


def wer_text(wer: Wer | None) -> str:
    """A WER in percent, with that of the base before it; empty where there is none."""
    if wer is None or wer.after is None:
        return ""
    return f"{wer.after:.2f}" if wer.before is None else f"{wer.before:.2f} -> {wer.after:.2f}"


def minute(time: str) -> str:
    """A time in ISO 8601 to the minute."""
    return time[:16].replace("T", " ")
