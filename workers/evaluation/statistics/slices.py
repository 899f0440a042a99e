"""Slices: parts of a test set, by duration, noise, or a key of the manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from workers.manifests.speech import Utterance

#: Seconds below which speech is short, and above which it is long (NeMo Curator's tutorial).
SHORT_S, LONG_S = 2.0, 15.0
#: dB of measured signal-to-noise ratio below which speech is noisy.
NOISY_DB = 15.0
#: Hz of measured bandwidth below which speech went through a telephone (ITU-T G.712 ends at 3,400).
TELEPHONE_HZ = 4_000.0
#: A key with more values than this is not sliced by.
MAX_VALUES = 24
#: Fewest utterances per value, on average, for a key to be sliced by automatically.
MIN_MEAN = 5

DURATION = ((0.0, SHORT_S), (SHORT_S, 5.0), (5.0, LONG_S), (LONG_S, float("inf")))
SNR = ((float("-inf"), 10.0), (10.0, 20.0), (20.0, 30.0), (30.0, float("inf")))

#: What is sliced by measured quantities.
_MEASURED = ("duration", "snr")


@dataclass(frozen=True)
class Slice:
    """A part of a test set.

    Attributes:
        field: what the set is sliced by: "duration" and "snr" as they were measured, or a key of
            the manifest; one of these names is called "snr (manifest)".
        value: value or range that the utterances have in common.
        indices: indices of the utterances in the set.
    """

    field: str
    value: str
    indices: tuple[int, ...]

    @property
    def name(self) -> str:
        """Display name, as in ``duration: < 2 s``."""
        return f"{self.field}: {self.value}"


def by_range(
    utterances: Sequence[Utterance],
    field: str,
    number: Callable[[Utterance], float | None],
    ranges: Sequence[tuple[float, float]],
    unit: str,
) -> list[Slice]:
    """Slice by ranges of a number.

    Args:
        utterances: the utterances of the set.
        field: name of the number.
        number: the number of an utterance; None if it has none.
        ranges: lower (inclusive) and upper (exclusive) end of each range.
        unit: unit of the number, for display.

    Returns:
        One slice for each range, even if it has no utterances.
    """
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
    """Slice by duration, with limits at 2, 5 and 15 seconds."""
    return by_range(utterances, "duration", lambda each: each.duration, DURATION, "s")


def by_snr(utterances: Sequence[Utterance]) -> list[Slice]:
    """Slice by measured signal-to-noise ratio, with limits at 10, 20 and 30 dB."""
    return by_range(utterances, "snr", lambda each: each.measures.get("audio.snr_db"), SNR, "dB")


def by_field(utterances: Sequence[Utterance], field: str) -> list[Slice]:
    """Slice by the values of a manifest key, the most frequent first.

    Raises:
        ValueError: the key has more than `MAX_VALUES` values.
    """
    values = Counter(found for each in utterances if (found := _value(each, field)) is not None)
    if len(values) > MAX_VALUES:
        raise ValueError(f"`{field}` has {len(values)} values; at most {MAX_VALUES} are allowed")
    of_each = [_value(each, field) for each in utterances]
    return [
        Slice(
            name_of_key(field), value, tuple(i for i, found in enumerate(of_each) if found == value)
        )
        for value, _ in values.most_common()
    ]


def name_of_key(key: str) -> str:
    """What slices by a key of the manifest are called: apart from those by what was measured."""
    return f"{key} (manifest)" if key in _MEASURED else key


def fields_of(utterances: Sequence[Utterance]) -> Iterator[str]:
    """The manifest keys worth slicing by: those with few values and enough utterances of each."""
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
