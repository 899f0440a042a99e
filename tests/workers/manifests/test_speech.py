from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from schemas.manifest_text import ManifestFileError
from tests.serve_app.audio.media_files import encode
from tests.serve_app.audio.sounds import sweep
from workers.manifests.speech import check_manifest, read_audio


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two seconds of noise, and something that is no audio."""
    noise = np.random.default_rng(1).uniform(-0.1, 0.1, 32_000)
    soundfile.write(tmp_path / "two.wav", noise, 16_000)
    (tmp_path / "notes.wav").write_text("not audio at all")
    return tmp_path


def write(folder: Path, *lines: dict[str, Any] | str) -> Path:
    path = folder / "manifest.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("".join(f"{text}\n" for text in texts))
    return path


GOOD = {"audio_filepath": "two.wav", "text": "two seconds"}


def test_paths_are_relative_to_the_manifest_and_durations_are_measured(folder: Path) -> None:
    segment = {**GOOD, "offset": 0.5, "duration": 1.0, "voice": "anna"}
    utterances, faults = check_manifest(write(folder, GOOD, segment), 30)
    assert faults == []
    assert [each.duration for each in utterances] == [2.0, 1.0]
    assert [len(read_audio(each)) for each in utterances] == [32_000, 16_000]
    assert utterances[1].speaker == "anna"


def test_a_channel_is_read(folder: Path) -> None:
    noise = np.random.default_rng(1).uniform(-0.1, 0.1, (16_000, 2)).astype(np.float32)
    soundfile.write(folder / "two.wav", noise, 16_000, "FLOAT")
    lines = [{**GOOD, "channel": channel} for channel in (1, "0", "average")]
    utterances, faults = check_manifest(write(folder, *lines), 30, measure=lambda clip: {})
    assert faults == []
    for utterance, expected in zip(
        utterances, (noise[:, 1], noise[:, 0], noise.mean(axis=1)), strict=True
    ):
        np.testing.assert_allclose(read_audio(utterance), expected, atol=1e-7)
    assert utterances[0].measures["audio.channels"] == 2
    assert [each.fields["channel"] for each in utterances] == [1, 0, "mean"], "slices are by it"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({**GOOD, "channel": 1}, "two.wav: has one channel, 0, and `channel` is 1"),
        ({**GOOD, "channel": "left"}, "`channel`: "),
        ({**GOOD, "channel": "each"}, "`channel`: is `each`, .*give a record for each, with"),
        ({**GOOD, "audio_filepath": "none.wav"}, "none.wav: no such file"),
        ({**GOOD, "audio_filepath": "notes.wav"}, "notes.wav: .*not"),
        ({**GOOD, "duration": 7}, "`duration` says 7 s and there are 2.00 s"),
        ({**GOOD, "offset": 1.5, "duration": 9}, "two.wav: "),
        ({**GOOD, "text": " "}, "`text`: is missing or has no words"),
        ({**GOOD, "text": "..."}, "`text`: is missing or has no words"),
        ({"audio_filepath": "two.wav"}, "`text`: is missing"),
        ({**GOOD, "audio_filepath": 3}, "`audio_filepath`: Expected `str`"),
        ("{", "not a JSON object"),
    ],
)
def test_what_is_wrong_with_a_line_is_told(
    folder: Path, line: dict[str, Any] | str, reason: str
) -> None:
    utterances, faults = check_manifest(write(folder, GOOD, line, GOOD), 30)
    assert len(utterances) == 2
    assert [fault.line for fault in faults] == [2]
    assert re.search(reason, faults[0].reason)
    assert str(folder) not in str(faults[0])


def test_too_long_an_utterance_is_a_fault(folder: Path) -> None:
    (fault,) = check_manifest(write(folder, GOOD), 1.5)[1]
    assert "has 2.0 s, more than 1.5" in fault.reason


def test_a_manifest_without_records_is_none(folder: Path) -> None:
    with pytest.raises(ManifestFileError, match="has no records; give one on each line"):
        check_manifest(write(folder), 30)


def test_a_limit_reads_the_first_lines_and_texts_need_no_audio(folder: Path) -> None:
    missing = {**GOOD, "audio_filepath": "none.wav"}
    assert check_manifest(write(folder, GOOD, missing), 30, limit=1)[1] == []
    utterances, faults = check_manifest(write(folder, GOOD, missing), 30, audio=False)
    assert ([each.text for each in utterances], faults) == (["two seconds"] * 2, [])


@pytest.mark.parametrize("offset", [{}, {"offset": 0}, {"offset": 0.0}])
def test_a_segment_at_the_start_may_be_shorter_than_its_recording(
    folder: Path, offset: dict[str, float]
) -> None:
    line = {**GOOD, **offset, "duration": 0.8}
    (utterance,), faults = check_manifest(write(folder, line), 1.5)
    assert faults == []
    assert utterance.duration == 0.8
    assert len(read_audio(utterance)) == 12_800


def test_a_recording_may_be_named_by_a_url(folder: Path) -> None:
    (folder / "a b.wav").write_bytes((folder / "two.wav").read_bytes())
    names = [f"file://{folder}/a%20b.wav", f"FILE:{folder}/a%20b.wav", f"file://{folder}/no.wav"]
    lines = [{**GOOD, "audio_filepath": name} for name in names]
    utterances, faults = check_manifest(write(folder, *lines), 30)
    assert [each.path for each in utterances] == [f"{folder}/a b.wav"] * 2
    assert [each.line for each in faults] == [3]
    assert "no such file" in faults[0].reason
    (fault,) = check_manifest(write(folder, {**GOOD, "audio_filepath": "s3://b/c.wav"}), 30)[1]
    assert "this `s3://` address is not read" in fault.reason


def test_a_relative_path_that_is_not_found_is_looked_up_nowhere_else(folder: Path) -> None:
    missing = {**GOOD, "audio_filepath": "proc/version"}  # the loader's own root is `/`
    (fault,) = check_manifest(write(folder, missing), 30)[1]
    assert "no such file, neither in the manifest's folder" in fault.reason


def test_what_is_recorded_by_telephones_and_browsers_is_read(folder: Path) -> None:
    encode(folder / "two.m4a", sweep(2, 48_000), "ipod", "aac")
    encode(folder / "two.webm", sweep(2, 48_000), "webm", "libopus")
    lines = [{**GOOD, "audio_filepath": name} for name in ("two.m4a", "two.webm")]
    utterances, faults = check_manifest(write(folder, *lines, {**lines[0], "offset": 0.5}), 30)
    assert faults == []
    assert [each.duration for each in utterances] == pytest.approx([2, 2, 1.5], abs=0.1)
