from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import soundfile

from research.corpus.plan import plan
from research.corpus.render import write_set

needs_voices = pytest.mark.skipif(
    any(shutil.which(program) is None for program in ("espeak-ng", "flite", "festival")),
    reason="needs the Debian packages espeak-ng, flite and festival",
)
SUFFIXES = {"clean": ".flac", "telephony": ".flac", "noisy": ".opus"}


@needs_voices
def test_the_same_seed_makes_the_same_files(tmp_path: Path) -> None:
    utterances = plan("general", 3, {"train": 12, "dev": 5, "test": 5, "demo": 0})["train"]
    assert {one.voice.split(":")[0] for one in utterances} == {"espeak", "flite", "festival"}
    made = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folders = {condition: folder / condition for condition in SUFFIXES}
        entries = write_set(utterances, folders, SUFFIXES)
        flac = sorted(folder.rglob("*.flac"))  # an Ogg stream has a random serial number
        made.append((entries, [hashlib.sha256(path.read_bytes()).digest() for path in flac]))
    assert made[0] == made[1]
    assert len(made[0][1]) == 2 * len(utterances)


@needs_voices
def test_files_are_as_their_entries_say(tmp_path: Path) -> None:
    utterances = plan("general", 4, {"train": 4, "dev": 5, "test": 5, "demo": 0})["train"]
    folders = {condition: tmp_path / condition for condition in SUFFIXES}
    entries = write_set(utterances, folders, SUFFIXES)
    rates = {"clean": 16_000, "telephony": 8_000, "noisy": 16_000}
    for condition, lines in entries.items():
        assert [line["text"] for line in lines] == [one.text for one in utterances]
        for line in json.loads(json.dumps(lines)):
            info = soundfile.info(tmp_path / line["audio_filepath"])
            assert info.samplerate == rates[condition]
            assert info.channels == 1
            assert info.duration == pytest.approx(line["duration"], abs=0.01)
            assert line["conditions"] == condition
