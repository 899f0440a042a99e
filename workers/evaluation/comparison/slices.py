"""Choose the slices of the test sets for a comparison."""

from __future__ import annotations

from collections.abc import Sequence

from workers.evaluation.statistics.slices import (
    Slice,
    by_duration,
    by_field,
    by_snr,
    fields_of,
    name_of_key,
)
from workers.evaluation.testset import TestSet


def slices_of(sets: Sequence[TestSet], slice_by: Sequence[str] | None) -> dict[str, list[Slice]]:
    """Slice each set by duration, by noise and by keys of the manifest.

    Args:
        sets: the test sets.
        slice_by: keys of the manifest; None takes those with few values and enough utterances of
            each, within a set or over all sets together.

    Returns:
        The slices that have utterances, by name of the set.

    Raises:
        ValueError: no utterance has a key of `slice_by`, or a set has too many values of it.
    """
    shared = _fields_over(sets) if slice_by is None else []
    found = {}
    for each in sets:
        fields = [*fields_of(each.utterances), *shared] if slice_by is None else slice_by
        slices = by_duration(each.utterances) + by_snr(each.utterances)
        for field in dict.fromkeys(fields):
            slices += by_field(each.utterances, field)
        found[each.name] = [one for one in slices if one.indices]
    known = {one.field for slices in found.values() for one in slices}
    unknown = [key for key in slice_by or [] if known.isdisjoint((key, name_of_key(key)))]
    if unknown:
        raise ValueError(f"no utterance has the key {', '.join(unknown)} to slice by")
    return found


def _fields_over(sets: Sequence[TestSet]) -> list[str]:
    """Keys to slice all sets by: those whose values differ between sets, if not within them."""
    together = [utterance for each in sets for utterance in each.utterances]
    return [field for field in fields_of(together) if not _names_the_sets(field, sets)]


def _names_the_sets(field: str, sets: Sequence[TestSet]) -> bool:
    """Whether each set has one value that no other set has: the key tells no more than the name."""
    of_each = [{one.value for one in by_field(each.utterances, field)} for each in sets]
    different = set().union(*of_each)
    return all(len(values) <= 1 for values in of_each) and len(different) == sum(map(len, of_each))
