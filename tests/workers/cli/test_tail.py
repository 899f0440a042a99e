"""What `chorus tail` shows of transcripts, in a terminal and in a pipe."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from schemas.settings import Settings, load_settings
from schemas.transcript import Timings, Transcript
from workers.cli.tables import RuleSummary
from workers.cli.tail import transcript_row

TEXT = "send the package to seventeen main street in london before quarter to eleven on sunday"


def transcript(**keys: Any) -> Transcript:
    given: dict[str, Any] = {
        "id": "call-17",
        "audio_filepath": "a.wav",
        "duration": 3.0,
        "pred_text": TEXT,
        "selected_model": "medical",
        "model_path": "medical.nemo",
        "rule": "default",
        "timings": Timings(),
    }
    return Transcript(**(given | keys))


def shown(width: int | None, *results: Transcript) -> list[str]:
    """The lines that a terminal of this width shows, a pipe for None."""
    file = StringIO()
    console = Console(file=file, force_terminal=width is not None, width=width or 10_000)
    for each in results:
        console.print(transcript_row(each, console))
    return [Text.from_ansi(line).plain.rstrip() for line in file.getvalue().splitlines()]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "chorus.yaml"
    path.write_text(
        "models: {a: {engine: 'x:Y'}, b: {engine: 'x:Y'}}\n"
        "plans: {vote: {ensemble: [a, b], fallback: [a]}}\n"
        "routing: {default: vote}\n"
        "audio: {roots: ['.']}\n"
    )
    return load_settings(path)


@pytest.mark.parametrize("width", [40, 80, 160])
def test_no_word_is_broken_and_no_line_is_longer_than_the_terminal(width: int) -> None:
    lines = shown(width, transcript(id="a-rather-long-name-of-a-record-" * 3, wer=12.4))
    assert max(map(len, lines)) <= width
    words = " ".join(lines).split()
    assert [word for word in words if word in TEXT.split()] == TEXT.split()


def test_rows_have_their_columns_at_the_same_places() -> None:
    short = transcript(pred_text="yes", wer=0.0)
    named = transcript(id="b", plan="vote", rule="noise", pred_text="yes")
    lines = shown(100, short, named)
    assert len({line.index("yes") for line in lines}) == 1
    assert "medical (default)" in lines[0]
    assert "0%" in lines[0]
    assert "vote (noise)" in lines[1], "the plan, not the model that has most words in its text"


def test_in_a_pipe_a_transcript_is_one_whole_line() -> None:
    long = transcript(id="a" * 60, pred_text=TEXT * 5, plan="vote", fallback_from="tiers")
    (line,) = shown(None, long)
    assert line.startswith("a" * 60)
    assert "vote (default) after tiers" in line
    assert line.endswith(TEXT * 5)


def test_the_summary_counts_by_rule_and_pools_the_wer(settings: Settings) -> None:
    summary = RuleSummary()
    assert not summary
    summary.add("noise", "a")
    for errors, words in ((1, 4), (0, 4)):
        summary.add("default", "vote", errors, words)
    file = StringIO()
    console = Console(file=file, width=100)
    console.print(summary.table(settings, console))
    rows = [line.split() for line in file.getvalue().splitlines()[1:]]
    assert rows[0] == ["default", "vote", "2", "12.5", "ensemble", "of", "a,", "b;", "else", "a"]
    assert rows[1] == ["noise", "a", "1", "-", "x:Y"]
