from __future__ import annotations

import pytest

import workers.evaluation


@pytest.mark.parametrize("name", workers.evaluation.__all__)
def test_a_name_is_found_when_it_is_asked_for(name: str) -> None:
    assert getattr(workers.evaluation, name).__name__ == name


def test_others_are_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'compute'"):
        workers.evaluation.compute  # noqa: B018
