from __future__ import annotations

from serve_app.engines.repetition import compression_ratio


def test_compression_is_of_the_text() -> None:
    assert compression_ratio("the quick brown fox") < 1
    assert compression_ratio("thank you " * 40) > 10
    assert compression_ratio("") == 0
