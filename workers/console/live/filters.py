"""Which transcripts somebody wants to see."""

from __future__ import annotations

from typing import Self

import msgspec

from workers.console.live.rows import Row


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """What a row must be; what is empty is not asked for.

    Attributes:
        model: the plan, or the model.
        domain, rule: as in the transcript.
        below: highest confidence, in percent.
        text: is in the text or the id, whatever the case.
    """

    model: str = ""
    domain: str = ""
    rule: str = ""
    below: float | None = None
    text: str = ""

    @classmethod
    def of(cls, model: str, domain: str, rule: str, below: str, text: str) -> Self:
        """The filter of a form; a confidence that is no number is not asked for."""
        try:
            most = float(below) if below else None
        except ValueError:
            most = None
        return cls(model=model, domain=domain, rule=rule, below=most, text=text[:200].casefold())

    def takes(self, row: Row) -> bool:
        """Whether `row` is wanted."""
        return (
            (not self.model or self.model in (row.made_by, row.model))
            and (not self.domain or self.domain == row.domain)
            and (not self.rule or self.rule == row.rule)
            and (self.below is None or _below(row.confidence, self.below))
            and (not self.text or self.text in f"{row.id}\n{row.text}".casefold())
        )


def _below(confidence: float | None, percent: float) -> bool:
    return confidence is not None and 100 * confidence <= percent
