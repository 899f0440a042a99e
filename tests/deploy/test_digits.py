from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from deploy.digits.__main__ import Recording, unpack, write_manifests

SPEAKERS = ("anna", "ben", "carl")


@pytest.fixture
def recordings(tmp_path: Path) -> list[Recording]:
    source = tmp_path / "source"
    source.mkdir()
    for speaker in SPEAKERS:
        for digit in (0, 7):
            for take in (0, 4, 5):
                path = source / f"{digit}_{speaker}_{take}.wav"
                soundfile.write(path, np.zeros(4_000), 8_000)
    archive = tmp_path / "digits.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(source, "digits")
    return unpack(archive, tmp_path / "recordings")


def test_a_speaker_held_out_is_in_the_test_set_only(
    recordings: list[Recording], tmp_path: Path
) -> None:
    write_manifests(recordings, "ben", tmp_path / "ben")
    lines = {
        part: [json.loads(line) for line in (tmp_path / "ben" / f"{part}.jsonl").open()]
        for part in ("train", "validation", "test")
    }
    assert {line["voice"] for line in lines["test"]} == {"ben"}
    assert {line["voice"] for line in lines["train"] + lines["validation"]} == {"anna", "carl"}
    assert [len(lines[part]) for part in lines] == [4, 8, 6]
    assert {line["text"] for line in lines["train"]} == {"zero", "seven"}
    assert all(line["duration"] == 1.1 for line in lines["train"])
    assert {Path(line["audio_filepath"]).stem[-1] for line in lines["train"]} == {"5"}
