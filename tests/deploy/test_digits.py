from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from deploy.digits.__main__ import write_manifests
from deploy.digits.recordings import Recording, prepare, unpack

SPEAKERS = ("anna", "ben", "carl")


@pytest.fixture
def recordings(tmp_path: Path) -> list[Recording]:
    source = tmp_path / "source"
    source.mkdir()
    for speaker in SPEAKERS:
        for digit in (0, 7):
            for take in (0, 4, 5):
                path = source / f"{digit}_{speaker}_{take}.wav"
                noise = np.random.default_rng(take).normal(0, 0.1, 4_000)
                soundfile.write(path, noise, 8_000)
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
    assert all(line["duration"] == 1.5 for line in lines["train"])
    assert {Path(line["audio_filepath"]).stem[-1] for line in lines["train"]} == {"5"}


def test_a_recording_gets_pauses_of_its_own_noise(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    time = np.arange(4_000) / 8_000
    word = 0.3 * np.sin(2 * np.pi * 500 * time) * (np.abs(time - 0.25) < 0.15)
    hiss = rng.normal(0, 0.01, 4_000)
    heard = prepare((word + hiss).astype(np.float32), 8_000, rng)
    assert len(heard) == 24_000
    before, after = heard[:7_000], heard[-7_000:]
    for pause in (before, after):
        assert 0.005 < np.sqrt(np.mean(pause**2)) < 0.03
    quiet = prepare(word.astype(np.float32), 8_000, rng)
    assert np.count_nonzero(quiet[:7_000]) == 7_000, "no digital silence"
    assert np.sqrt(np.mean(quiet[:7_000] ** 2)) < 0.005
