"""Each check tells the engine that it is for, and no other check does."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest

from schemas.settings import ModelSettings
from serve_app.audio.clip import Clip
from serve_app.engines.conformance.trial import NAMES, Checked, check
from tests.serve_app.engines.conformance import engines

pytestmark = pytest.mark.slow  # a process for each engine

ENGINES = engines.__name__


def speech_at(rate: int) -> list[Clip]:
    """Four clips whose level changes as that of speech does."""
    rng = np.random.default_rng(1)
    clips = []
    for seconds in (3.4, 3.1, 2.4, 2.6):
        levels = np.repeat(rng.uniform(0.02, 0.2, 16), rate // 4)[: int(seconds * rate)]
        clips.append((rng.normal(0, 1, len(levels)) * levels).astype(np.float32))
    return clips


def checked(name: str, **options: object) -> dict[str, Checked]:
    settings = ModelSettings(engine=f"{ENGINES}:{name}", options=options)
    return {each.name: each for each in check(settings, speech_at)}


def test_an_engine_that_is_right_in_every_way() -> None:
    found = checked("Good")
    assert tuple(found) == NAMES
    assert {each.state for each in found.values()} == {"ok"}, found
    assert not any(each.next for each in found.values())


def test_options_come_to_the_engine() -> None:
    assert "hears nothing" in checked("Good", level=100)["results"].said


@pytest.mark.parametrize(
    ("name", "stage", "said"),
    [
        ("Absent", "load", "has no class `Absent`"),
        ("Unhearing", "load", "has no `transcribe`"),
        ("Unfinished", "load", r"FileNotFoundError: weights.bin \(line \d+ of engines.py\)"),
        ("Exiting", "load", "it raises SystemExit: no licence"),
        ("Fractional", "attributes", "its `sample_rate` is of the type float, not int"),
        ("Kilohertz", "attributes", "`sample_rate` is 16"),
        ("Unnamed", "attributes", "its `sha256` is of the type NoneType, not str"),
        ("Graphic", "attributes", "`device` is 'cuda:0'"),
        ("Undigested", "attributes", "`sha256` is no SHA-256 digest"),
        ("Cold", "warm up", r"it raises RuntimeError: no room \(line \d+ of engines.py\)"),
        ("Choosy", "health", r"Choosy fails: ValueError: shapes \(line \d+ of engines.py\)"),
        ("Nothing", "results", "it gave NoneType for a clip"),
        ("TooMany", "results", "it gave 5 results for 4 clips"),
        ("Certain", "results", "`confidence` is 130.0, not 0 to 1"),
        ("Refusing", "results", "it rejects 4 of 4 clips of speech: not today"),
    ],
)
def test_what_the_other_checks_need_ends_them(name: str, stage: str, said: str) -> None:
    found = checked(name)
    *before, last = found.values()
    assert {each.state for each in before} <= {"ok"}
    assert (last.name, last.state) == (stage, "wrong")
    assert last.next
    assert_says(last, said)


@pytest.mark.parametrize(
    ("name", "stage", "state", "said", "also"),
    [
        ("Deaf", "results", "warning", "hears nothing in 4 clips", ["order"]),
        ("Moody", "repeated", "wrong", "other texts when they are asked for again", None),
        ("Sorting", "order", "wrong", "not in the order of the clips", None),
        (
            "Padding",
            "batch",
            "wrong",
            "3 of 4 clips have another text in a batch",
            ["64 clips", "words"],
        ),
        ("Averaging", "batch", "warning", "confidences differ by up to", ["64 clips"]),
        ("Few", "64 clips", "wrong", "it raises RuntimeError: at most 16 clips", []),
        ("Talkative", "words", "wrong", "gives `words` that nobody asked for", []),
        ("Wordless", "words", "warning", "4 of 4 clips have no `words`", []),
        (
            "Milliseconds",
            "words",
            "wrong",
            r"word 1 of 14 ends at 250.00 s, in a clip of 3.40 s",
            None,
        ),
        ("Backwards", "words", "wrong", "before the one in front of it", ["40 seconds"]),
        ("Timeless", "words", "wrong", "all words are at 0 s", ["40 seconds"]),
        ("Loud", "words", "warning", "the words are not those of the text", []),
        ("Unsure", "confidence", "warning", "text without a `confidence`", []),
        ("Sure", "confidence", "warning", "`confidence` is 1.0 for every clip", []),
        ("Shy", "silence", "warning", "it rejects silence: nobody speaks", []),
        ("Afraid", "silence", "wrong", "it raises ZeroDivisionError: level", []),
        ("Dreaming", "silence", "warning", "it hears 8 words where nobody speaks", []),
        ("Framed", "short clips", "wrong", "it raises ValueError: no frame", []),
        ("Filled", "short clips", "warning", "without samples it raises ValueError", []),
        ("Forgetful", "40 seconds", "wrong", "the last 8 of 40 s is not heard", []),
        ("Brief", "40 seconds", "warning", "it rejects 40 s: over 30 s", []),
        ("English", "language", "wrong", "it raises KeyError: 'de'", []),
        ("Loyal", "language", "warning", "language it does not know: not English", []),
        ("Boasting", "phrases", "wrong", "`phrases` is 200 for a clip with 100 phrases", []),
        ("Common", "phrases", "wrong", "a number for a clip that has none of its own", []),
        ("Ascii", "phrases", "wrong", "it raises UnicodeEncodeError", []),
        ("Centring", "read-only", "wrong", "it changes the samples of its clips", []),
        ("Demanding", "read-only", "wrong", "it raises ValueError: cannot set WRITEABLE flag", []),
        ("Marking", "read-only", "wrong", "it changes the samples of its clips", []),
        (
            "Remembering",
            "errors",
            "wrong",
            "after a clip of nan it hears other words in good clips",
            [],
        ),
        ("Spreading", "errors", "wrong", "a clip of nan spoils others of its batch", []),
        ("GivingUp", "errors", "wrong", "a replica would be replaced: the GPU failed", []),
    ],
)
def test_a_fault_is_told_by_its_own_check(
    name: str, stage: str, state: str, said: str, also: Sequence[str] | None
) -> None:
    found = checked(name)
    assert tuple(found) == NAMES
    assert found[stage].state == state, found[stage]
    assert_says(found[stage], said)
    assert found[stage].next
    if also is not None:
        others = {each.name for each in found.values() if each.state != "ok"} - {stage}
        assert others == set(also), [found[each] for each in others]


def assert_says(found: Checked, said: str) -> None:
    assert re.search(said, found.said), found.said
