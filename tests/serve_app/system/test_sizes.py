from __future__ import annotations

import pytest

from serve_app.system.sizes import size_text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (3_514_880, "3.4 MiB"),
        ((1 << 30) - 1, "1.0 GiB"),
        (5 << 30, "5.0 GiB"),
        (3000 << 40, "3000.0 TiB"),
    ],
)
def test_a_size_has_the_unit_that_people_read(size: int, text: str) -> None:
    assert size_text(size) == text
