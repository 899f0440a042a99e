"""Which parts of the test sets a comparison looks at."""

from __future__ import annotations

from collections.abc import Sequence

from workers.evaluation.slices import Slice, by_duration, by_field, by_snr, fields_of
from workers.evaluation.testset import TestSet


def slices_of(sets: Sequence[TestSet], slice_by: Sequence[str] | None) -> dict[str, list[Slice]]:
    """The slices of each set, by its name: by duration, by noise, and by keys of the manifest.

    Those without utterances are left out.

    Args:
        slice_by: the keys; None takes those with few values and enough utterances of each, within a
            set or over all sets together.

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
    unknown = [key for key in slice_by or [] if key not in known]
    if unknown:
        raise ValueError(f"no utterance has the key {', '.join(unknown)} to slice by")
    return found


def _fields_over(sets: Sequence[TestSet]) -> list[str]:
    """Keys to slice every set by: what is the same all over a set can differ between sets."""
    together = [utterance for each in sets for utterance in each.utterances]
    return [field for field in fields_of(together) if not _names_the_sets(field, sets)]


def _names_the_sets(field: str, sets: Sequence[TestSet]) -> bool:
    """Whether each set has one value, and no other set has it: that says no more than a name."""
    of_each = [{one.value for one in by_field(each.utterances, field)} for each in sets]
    different = set().union(*of_each)
    return all(len(values) <= 1 for values in of_each) and len(different) == sum(map(len, of_each))
