"""The recordings of the data set, prepared for testing and for training."""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

import soundfile
from numpy.random import default_rng

from research.digits.augmentation import augmented
from research.digits.pauses import prepare
from serve_app.audio.clip import SAMPLE_RATE
from serve_app.system.files import atomic_path

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
#: Sample rate of the recordings, in hertz.
RATE = 8_000
#: Number of augmented variants of each recording in training.
VARIANTS = 4


@dataclass(frozen=True)
class Recording:
    """One spoken digit.

    Attributes:
        path: the recording with pauses around it.
        digit: 0 to 9.
        speaker: name of the speaker.
        take: number of the recording, of this speaker and digit.
        variants: augmented variants of the recording, for training.
    """

    path: Path
    digit: int
    speaker: str
    take: int
    variants: tuple[Path, ...]


def unpack(archive: Path, folder: Path) -> list[Recording]:
    """Prepare all recordings of the archive, unless they are already in `folder`.

    Args:
        archive: the data set, a .tar.gz.
        folder: where the prepared recordings are written.
    """
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(folder) as unfinished:
            _write_recordings(archive, unfinished)
    found = []
    for path in sorted(folder.rglob("?_*.wav")):
        digit, name, take = path.stem.split("_")
        variants = tuple(_variant(path, variant) for variant in range(VARIANTS))
        found.append(Recording(path, int(digit), name, int(take), variants))
    return found


def _write_recordings(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    for number, path in enumerate(sorted(folder.rglob("*.wav"))):
        samples, rate = soundfile.read(path, dtype="float32")
        for variant in range(VARIANTS):
            changed = augmented(samples, rate, default_rng([number, variant]))
            soundfile.write(_variant(path, variant), changed, SAMPLE_RATE)
        soundfile.write(path, prepare(samples, rate, default_rng(number)), SAMPLE_RATE)


def manifest_line(path: Path, word: str, voice: str) -> str:
    """Line of a NeMo manifest for the recording at `path`."""
    line = {
        "audio_filepath": str(path.resolve()),
        "duration": round(soundfile.info(path).duration, 4),
        "text": word,
        "domain": "digits",
        "voice": voice,
    }
    return json.dumps(line) + "\n"


def _variant(path: Path, number: int) -> Path:
    return path.with_name(f"way{number}-{path.name}")
