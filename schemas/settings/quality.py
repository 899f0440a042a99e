"""The section `stream.quality`: transcripts that are judged while the stream runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec

from schemas.settings.routing import Routing
from schemas.settings.types import Fault, NonNegativeFloat, PositiveFloat, PositiveInt, Strict
from schemas.settings.values import read_by
from schemas.shares import share_of

#: The smallest reference, and what it is a multiple of; see `workers.quality.trend`.
_LEAST, _STEP = 100, 50
#: Of the records that are kept of a series, the first and the last quarter always are.
_KEPT = 4


class QualitySettings(Strict):
    """What `chorus quality` says, found out again and again by the stream itself.

    Attributes:
        every_s: seconds between two looks.
        history_s: how far back transcripts are read when the job starts, in seconds. The
            reference is the first of them.
        reference: records of a version that the later ones are compared with: its first. A
            multiple of 50, at least 100.
        error_rate: probability of ever reporting a change where there is none, from the start of
            the job on.
        silent_after_s: a model without transcripts for so many seconds is "no data".
        domains: domains that are looked at by themselves, beside those that rules name; the
            records of all others are looked at together, as `other`.
        max_records: records of a version, in a domain, that are kept in memory: where there are
            more, some between the first and the latest are left out. At least four times
            `reference`. Takes about 0.4 KB for each.
    """

    every_s: PositiveFloat = 300.0
    history_s: NonNegativeFloat = 14 * 86_400.0
    reference: Annotated[int, msgspec.Meta(ge=_LEAST, multiple_of=_STEP)] = 1000
    error_rate: Annotated[float, read_by(share_of, gt=0, lt=1)] = 0.02
    silent_after_s: PositiveFloat = 86_400.0
    domains: list[str] = []
    max_records: PositiveInt = 20_000


def quality_faults(quality: QualitySettings) -> Iterator[Fault]:
    """What is wrong with the section that types alone cannot express."""
    if quality.max_records < _KEPT * quality.reference:
        yield "max_records", f"is below {_KEPT} times `reference` ({quality.reference})"


def judged_domains(quality: QualitySettings, routing: Routing) -> frozenset[str]:
    """The domains that are looked at by themselves: there are as many as the settings name."""
    conditions = (each for rule in routing.rules for each in (*rule.all, *rule.any))
    named = {
        value
        for each in conditions
        if each.field == "domain"
        for value in (each.equals, *(each.one_of or ()), *(each.contains or ()))
        if isinstance(value, str)
    }
    return frozenset({*named, *quality.domains})
