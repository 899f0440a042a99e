from __future__ import annotations

import pytest

from serve_app.engines.languages import find_language

KNOWN = ["en-US", "en", "de", "pt-BR", "pt-PT", "zh-CN", "auto"]


@pytest.mark.parametrize(
    ("tag", "found"),
    [
        ("de", "de"),
        ("DE", "de"),
        ("de-AT", "de"),
        ("en_us", "en-US"),
        ("en-GB", "en"),
        ("pt-pt", "pt-PT"),
        ("pt", "pt-BR"),
        ("zh-HK", "zh-CN"),
        ("it", None),
        ("d", None),
        ("-", None),
        ("", None),
        (None, None),
    ],
)
def test_the_language_of_a_tag(tag: str | None, found: str | None) -> None:
    assert find_language(tag, KNOWN) == found
