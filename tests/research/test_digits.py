from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from research.corpus.voices import Prompt
from research.digits import voices
from research.digits.__main__ import write_manifests
from research.digits.accents import SPELLED
from research.digits.augmentation import augmented, trimmed
from research.digits.pauses import prepare
from research.digits.recordings import VARIANTS, WORDS, Recording, unpack
from serve_app.audio.acoustics import Samples

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
        part: [
            json.loads(line)
            for line in (tmp_path / "ben" / f"{part}.jsonl").read_text().splitlines()
        ]
        for part in ("train", "validation", "test")
    }
    assert {line["voice"] for line in lines["test"]} == {"ben"}
    assert {line["voice"] for line in lines["train"] + lines["validation"]} == {"anna", "carl"}
    assert [len(lines[part]) for part in lines] == [4 * VARIANTS, 8, 6]
    assert {line["text"] for line in lines["train"]} == {"zero", "seven"}
    assert {Path(line["audio_filepath"]).stem[-1] for line in lines["train"]} == {"5"}
    assert {line["duration"] for line in lines["test"]} == {1.5}
    assert len({line["duration"] for line in lines["train"]}) == 4 * VARIANTS, "all differ"
    for line in (line for part in lines.values() for line in part):
        info = soundfile.info(line["audio_filepath"])
        assert (info.samplerate, round(info.duration, 4)) == (16_000, line["duration"])


def test_a_recording_gets_pauses_of_its_own_noise(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    time = np.arange(4_000) / 8_000
    word = 0.3 * np.sin(2 * np.pi * 500 * time) * (np.abs(time - 0.25) < 0.15)
    hiss = rng.normal(0, 0.01, 4_000)
    heard = prepare((word + hiss).astype(np.float32), 8_000, rng)
    assert len(heard) == 24_000
    before, after = heard[:7_000], heard[-7_000:]
    for pause in (before, after):
        assert -35 < level_db(pause) - level_db(heard) < -15
    quiet = prepare(word.astype(np.float32), 8_000, rng)
    assert np.count_nonzero(quiet[:7_000]) == 7_000, "no digital silence"
    assert level_db(quiet[:7_000]) - level_db(quiet) < -25


def test_quiet_and_loud_people_come_out_as_loud() -> None:
    voice = np.random.default_rng(1).normal(0, 0.1, 4_000).astype(np.float32)
    loud, quiet = (prepare(voice * gain, 8_000, np.random.default_rng(2)) for gain in (1, 0.05))
    np.testing.assert_allclose(loud, quiet, atol=1e-5)


def test_augmentation_depends_on_the_seed_only() -> None:
    voice = np.random.default_rng(1).normal(0, 0.1, 4_000).astype(np.float32)
    first, again, other = (
        augmented(voice, 8_000, np.random.default_rng(seed)) for seed in ([3, 0], [3, 0], [3, 1])
    )
    assert np.array_equal(first, again)
    assert len(first) != len(other)


def test_a_word_that_is_short_is_not_cut_further() -> None:
    word = np.full(800, 0.1, np.float32)
    for seed in range(40):
        heard = augmented(word, 8_000, np.random.default_rng(seed))
        assert len(heard) >= 1_600 + 2 * 0.2 * 16_000 - 4


def test_a_word_is_trimmed_of_what_is_around_it() -> None:
    clip = np.zeros(16_000, np.float32)
    clip[4_000:8_000] = 0.3
    word = trimmed(clip, 16_000, np.random.default_rng(1))
    assert np.array_equal(word, clip[4_000:8_000])


def test_each_language_spells_the_ten_digits() -> None:
    for language, spelled in SPELLED.items():
        assert len(spelled.split()) == len(WORDS), language


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng")
def test_synthesisers_say_the_digits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said = [(Prompt(word, "espeak:en-us+m3"), word) for word in WORDS]
    said.append((Prompt("srii", "espeak:fi"), "three"))
    monkeypatch.setattr(voices, "SETS", {"few": lambda: said})
    voices.make(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "few.jsonl").read_text().splitlines()]
    assert [line["text"] for line in lines] == [*WORDS, "three"]
    for line in lines:
        samples, rate = soundfile.read(line["audio_filepath"])
        assert len(samples) / rate == pytest.approx(line["duration"], abs=1e-4)
        assert level_db(samples) > -45, "a word is heard"
    voices.make(tmp_path)  # and not made again
    assert [json.loads(line) for line in (tmp_path / "few.jsonl").read_text().splitlines()] == lines


def level_db(samples: Samples) -> float:
    return float(10 * np.log10(np.mean(samples**2)))
