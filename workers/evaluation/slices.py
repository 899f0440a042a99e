"""Parts of a test set that are looked at alone: short, long, noisy, telephone, any field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from workers.speech import Utterance

#: Seconds below which speech is short, and above which it is long (NeMo Curator's tutorial).
SHORT_S, LONG_S = 2.0, 15.0
#: dB of measured signal-to-noise ratio below which speech is noisy.
NOISY_DB = 15.0
#: Hz of measured bandwidth below which speech went through a telephone (ITU-T G.712 ends at 3,400).
TELEPHONE_HZ = 4_000.0
#: A field with more values than this is no way to look at a set.
MAX_VALUES = 24
#: Utterances that a value needs on average for its field to be sliced by unasked.
MIN_MEAN = 5

DURATION = ((0.0, SHORT_S), (SHORT_S, 5.0), (5.0, LONG_S), (LONG_S, float("inf")))
SNR = ((float("-inf"), 10.0), (10.0, 20.0), (20.0, 30.0), (30.0, float("inf")))


@dataclass(frozen=True)
class Slice:
    """Some utterances of a set.

    Attributes:
        field: what they have in common: "duration", "snr", or a key of the manifest.
        value: the value or the range of it.
        indices: of the utterances in the set.
    """

    field: str
    value: str
    indices: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"{self.field}: {self.value}"


def by_range(
    utterances: Sequence[Utterance],
    field: str,
    number: Callable[[Utterance], float | None],
    ranges: Sequence[tuple[float, float]],
    unit: str,
) -> list[Slice]:
    """Slices by a number, lower ends included; the empty ones too."""
    numbers = [number(each) for each in utterances]
    return [
        Slice(
            field,
            _range_name(low, high, unit),
            tuple(
                i for i, found in enumerate(numbers) if found is not None and low <= found < high
            ),
        )
        for low, high in ranges
    ]


def by_duration(utterances: Sequence[Utterance]) -> list[Slice]:
    """Below 2, 5 and 15 seconds, and above."""
    return by_range(utterances, "duration", lambda each: each.duration, DURATION, "s")


def by_snr(utterances: Sequence[Utterance]) -> list[Slice]:
    """By the measured signal-to-noise ratio, in steps of 10 dB."""
    return by_range(utterances, "snr", lambda each: each.measures.get("audio.snr_db"), SNR, "dB")


def by_field(utterances: Sequence[Utterance], field: str) -> list[Slice]:
    """One slice for each value of a key of the manifest, the largest first.

    Raises:
        ValueError: the key has more than `MAX_VALUES` values.
    """
    values = Counter(found for each in utterances if (found := _value(each, field)) is not None)
    if len(values) > MAX_VALUES:
        raise ValueError(f"`{field}` has {len(values)} values; {MAX_VALUES} can be shown")
    of_each = [_value(each, field) for each in utterances]
    return [
        Slice(field, value, tuple(i for i, found in enumerate(of_each) if found == value))
        for value, _ in values.most_common()
    ]


def fields_of(utterances: Sequence[Utterance]) -> Iterator[str]:
    """The keys of the manifest to slice by: few values with enough utterances each, in order."""
    for field in dict.fromkeys(key for each in utterances for key in each.fields):
        values = {_value(each, field) for each in utterances}
        if 2 <= len(values) <= min(MAX_VALUES, len(utterances) / MIN_MEAN):
            yield field


def _value(utterance: Utterance, field: str) -> str | None:
    value = utterance.fields.get(field)
    return str(value) if isinstance(value, str | int | float) else None


def _range_name(low: float, high: float, unit: str) -> str:
    if low in (0.0, float("-inf")):
        return f"< {high:g} {unit}"
    if high == float("inf"):
        return f"≥ {low:g} {unit}"
    return f"{low:g}-{high:g} {unit}"
