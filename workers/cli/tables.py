"""Output for people: columns and colour in a terminal, and whole lines where it is piped."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from schemas.settings import Settings

#: Columns of output that is no terminal: lines are not broken there.
_UNBROKEN = 100_000
#: Terminals with fewer columns show less beside one another.
NARROW = 70


def people_console() -> Console:
    """A console on standard output that breaks lines between words, and only in a terminal."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=False)
    if not console.is_terminal:
        console.width = _UNBROKEN
    return console


def target_text(target: str, settings: Settings) -> str:
    """What a plan is made of, in words; the engine of a model."""
    from schemas.settings import plan_text

    if target in settings.plans:
        return plan_text(settings.plans[target])
    return settings.models[target].engine if target in settings.models else ""


class RuleSummary:
    """Counts records by the rule that chose their plan or model, with their pooled WER."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], list[int]] = {}

    def add(
        self, rule: str, target: str, errors: int | None = None, words: int | None = None
    ) -> None:
        """Count a record.

        Args:
            rule: that chose.
            target: the plan or model that it chose.
            errors: word errors, where the record has a reference.
            words: of the reference.
        """
        row = self._rows.setdefault((rule, target), [0, 0, 0])
        row[0] += 1
        row[1] += errors or 0
        row[2] += words or 0

    def __bool__(self) -> bool:
        return bool(self._rows)

    def table(self, settings: Settings, console: Console) -> Table:
        """The counts, the most frequent rule first."""
        from rich.table import Table

        scored = any(words for _, _, words in self._rows.values())
        table = Table(box=None, pad_edge=False)
        table.add_column("rule")
        table.add_column("plan or model", style="cyan")
        table.add_column("records", justify="right")
        if scored:
            table.add_column("WER %", justify="right")
        wide = console.width >= NARROW
        if wide:
            table.add_column("which is", style="dim")
        for (rule, target), (count, errors, words) in sorted(
            self._rows.items(), key=lambda item: -item[1][0]
        ):
            wer = [f"{100 * errors / words:.1f}" if words else "-"] if scored else []
            about = [target_text(target, settings)] if wide else []
            table.add_row(rule, target, str(count), *wer, *about)
        return table
