from __future__ import annotations

from pathlib import Path

import pytest

from serve_app.registry.versions import version_number


@pytest.mark.parametrize(
    ("name", "number"),
    [("3", 3), ("12", 12), ("3.unfinished", None), ("general", None), ("²", None)],
)
def test_the_folder_of_a_version_has_its_number_as_name(name: str, number: int | None) -> None:
    assert version_number(Path("models/general") / name) == number
