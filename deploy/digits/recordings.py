"""The recordings of the archive: as they are transcribed, and as they are learnt from."""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

import soundfile
from numpy.random import default_rng

from deploy.digits.pauses import prepare
from deploy.digits.variety import retaken
from workers.speech import SAMPLE_RATE

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
#: Of the recordings, in Hz.
RATE = 8_000
#: Ways in which each is learnt from.
WAYS = 4


@dataclass(frozen=True)
class Recording:
    """One digit, spoken once.

    Attributes:
        path: the recording with pauses around it.
        ways: the same, cut and recorded in other ways.
    """

    path: Path
    digit: int
    speaker: str
    take: int
    ways: tuple[Path, ...]


def unpack(archive: Path, folder: Path) -> list[Recording]:
    """All recordings of `archive`, prepared and written to `folder` if they are not there yet."""
    if not folder.exists():
        unfinished = folder.with_suffix(".partial")
        with tarfile.open(archive) as tar:
            tar.extractall(unfinished, filter="data")
        for number, path in enumerate(sorted(unfinished.rglob("*.wav"))):
            samples, rate = soundfile.read(path, dtype="float32")
            for way in range(WAYS):
                heard = retaken(samples, rate, default_rng([number, way]))
                soundfile.write(_way(path, way), heard, SAMPLE_RATE)
            soundfile.write(path, prepare(samples, rate, default_rng(number)), SAMPLE_RATE)
        unfinished.rename(folder)
    found = []
    for path in sorted(folder.rglob("?_*.wav")):
        digit, name, take = path.stem.split("_")
        ways = tuple(_way(path, way) for way in range(WAYS))
        found.append(Recording(path, int(digit), name, int(take), ways))
    return found


def manifest_line(path: Path, word: str, voice: str) -> str:
    """The line of the recording at `path` in a NeMo manifest."""
    line = {
        "audio_filepath": str(path.resolve()),
        "duration": round(soundfile.info(path).duration, 4),
        "text": word,
        "domain": "digits",
        "voice": voice,
    }
    return json.dumps(line) + "\n"


def _way(path: Path, number: int) -> Path:
    return path.with_name(f"way{number}-{path.name}")
