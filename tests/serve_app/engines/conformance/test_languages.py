"""The check of engines that identify languages."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from schemas.settings import ModelSettings
from serve_app.audio.clip import Clip
from serve_app.engines.base import Language
from serve_app.engines.conformance.trial import check
from serve_app.engines.errors import EngineError
from tests.serve_app.engines.conformance.engines import Good
from tests.serve_app.engines.conformance.test_trial import speech_at


class Silent(Good):
    """Identifies no languages."""


class Polyglot(Good):
    """Tells the language by the length of the clip."""

    def identify_languages(self, clips: Sequence[Clip]) -> list[Language | None]:
        return [Language("de" if len(clip) > 48_000 else "fr", 0.5) for clip in clips]


class Monoglot(Good):
    """Could identify languages with another model."""

    def identify_languages(self, clips: Sequence[Clip]) -> list[Language | None]:
        raise EngineError("this model knows only English")


class Neighbourly(Good):
    """Names one language for a whole batch."""

    def identify_languages(self, clips: Sequence[Clip]) -> list[Language | None]:
        return [Language(str(len(clips)), 0.5)] * len(clips)


class Percentual(Good):
    """Gives percent."""

    def identify_languages(self, clips: Sequence[Clip]) -> list[Language | None]:
        return [Language("de", 50.0)] * len(clips)


@pytest.mark.parametrize(
    ("name", "state", "said"),
    [
        ("Silent", "ok", "it has no `identify_languages`, which is optional"),
        ("Polyglot", "ok", "it identifies languages, here de, fr"),
        ("Monoglot", "ok", "it identifies none: this model knows only English"),
        (
            "Neighbourly",
            "wrong",
            "`identify_languages` names other languages in a batch than alone",
        ),
        ("Percentual", "wrong", "`probability` is 50.0, not 0 to 1"),
    ],
)
def test_languages_are_checked_where_an_engine_identifies_them(
    name: str, state: str, said: str
) -> None:
    settings = ModelSettings(engine=f"{__name__}:{name}")
    [found] = [each for each in check(settings, speech_at) if each.name == "languages"]
    assert (found.state, found.said) == (state, said)
    assert bool(found.next) is (state == "wrong")
