"""Rollouts on recorded speech: the blocks, the verdict, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.demo import MODELS, SPEECH
from schemas.settings import BlockBy, RolloutSettings
from serve_app.rollout.verdict import Verdict
from tests.workers.cli.shell import chorus
from tests.workers.evaluation import scripted
from workers import exit_codes
from workers.evaluation.rollout.replay import Block, paired_blocks, replay
from workers.evaluation.testset import read_test_set

BETTER, WORSE, EQUAL = Block(3, 1, 10), Block(1, 3, 10), Block(2, 2, 10)


def test_a_replay_ends_at_the_first_verdict() -> None:
    settings = RolloutSettings()
    found = replay([BETTER] * 300, settings)
    assert (found.verdict, found.blocks, found.of) == (Verdict.PROMOTE, 100, 300)
    assert (found.words, found.incumbent_wer, found.candidate_wer) == (1000, 30.0, 10.0)
    assert replay([WORSE] * 300, settings).verdict is Verdict.ROLL_BACK
    assert replay([EQUAL] * 300, settings).verdict is Verdict.HOLD
    few = RolloutSettings(max_blocks=200)
    assert replay([EQUAL] * 300, few).verdict is Verdict.INCONCLUSIVE
    empty = replay([], settings)
    assert (empty.verdict, empty.incumbent_wer) == (Verdict.HOLD, None)


@pytest.mark.parametrize(
    ("block_by", "count"), [("speaker", 3), ("recording", scripted.COUNT), ("record", 14)]
)
def test_errors_are_counted_over_blocks(tmp_path: Path, block_by: BlockBy, count: int) -> None:
    """Two speakers and one utterance without; one recording has two records."""
    twice = {"id": "again", "audio_filepath": "0.wav", "text": scripted.text_of(0), "speaker": "a"}
    path = scripted.write_set(
        tmp_path, extra=[twice], speaker=lambda number: ["a", "b"][number % 2] if number else ""
    )
    bad = scripted.system("bad", lambda clip: scripted.number_of(clip) == 0)
    sets = [read_test_set(path)]
    blocks = paired_blocks([scripted.system("good"), bad], sets, block_by=block_by)
    assert len(blocks) == count
    assert sum(block.words for block in blocks) == 14 * scripted.WORDS
    assert sum(block.candidate for block in blocks) == 2 * scripted.WORDS
    assert not any(block.incumbent for block in blocks)
    again = paired_blocks([scripted.system("good"), bad], sets, block_by=block_by)
    assert again == blocks
    other = paired_blocks([scripted.system("good"), bad], sets, block_by=block_by, seed=1)
    assert sorted(other, key=repr) == sorted(blocks, key=repr)


def test_what_has_no_reference_is_left_out(tmp_path: Path) -> None:
    path = scripted.write_set(tmp_path)
    lines = path.read_text().splitlines()
    first = json.loads(lines[0])
    del first["text"]
    path.write_text("\n".join([json.dumps(first), *lines[1:]]))
    systems = [scripted.system("one"), scripted.system("two")]
    assert len(paired_blocks(systems, [read_test_set(path)])) == scripted.COUNT - 1


@pytest.mark.nemo
def test_the_command(tmp_path: Path) -> None:
    settings = tmp_path / "chorus.yaml"
    settings.write_text(
        f"models: {{general: {{path: {MODELS}/general.nemo}}}}\n"
        f"routing: {{default: general}}\naudio: {{roots: [{SPEECH}]}}\n"
        "rollout: {min_blocks: 30, sharpest_at: 40}\n"
    )
    pair = ["general", f"medical={MODELS}/medical.nemo"]
    given = ["-m", str(SPEECH / "medical.jsonl")]
    done = chorus("rollout", "replay", *pair, *given, "-s", settings)
    assert done.returncode == 0, done.stderr
    *said, last = done.stdout.splitlines()
    figures = json.loads(last)
    assert figures["verdict"] == "promote"
    assert 30 <= figures["blocks"] <= figures["of"] == 40
    assert said[-1] == f"promote: medical is better (after {figures['blocks']} of 40 blocks)"
    back = chorus("rollout", "replay", *reversed(pair), *given, "-s", settings, "--json")
    assert back.returncode == exit_codes.NOT_PASSED
    assert json.loads(back.stdout)["verdict"] == "roll_back"


def test_an_unknown_block_is_refused(tmp_path: Path) -> None:
    model = str(MODELS / "general.nemo")
    done = chorus("rollout", "replay", model, f"x={model}", "-m", "m.jsonl", "--block-by", "day")
    assert done.returncode == 2
    assert "--block-by day: give `speaker`, `recording` or `record`" in done.stderr
