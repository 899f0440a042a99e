"""`python -m deploy.digits ARCHIVE`: fine-tune on spoken digits, test on a speaker never heard.

ARCHIVE is the Free Spoken Digit Dataset as a .tar.gz: files `{digit}_{speaker}_{take}.wav`, 8 kHz.
For each speaker in turn a demo model learns from the others by `chorus finetune`: takes 5 and up
are the training data, takes 0 to 4 the validation data, and all of the speaker's own the test.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import soundfile
import typer

from deploy.demo import CACHE, MODELS

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
#: Takes of the data set's own test set.
VALIDATION_TAKES = range(5)


@dataclass(frozen=True)
class Recording:
    """One digit, spoken once."""

    path: Path
    digit: int
    speaker: str
    take: int


def main(
    archive: Annotated[Path, typer.Argument(help="The data set, a .tar.gz.")],
    speaker: Annotated[
        list[str] | None, typer.Option(help="Hold out only this one; repeatable.")
    ] = None,
    base: Annotated[Path, typer.Option(help="Model to start from.")] = MODELS / "telephony.nemo",
    minutes: Annotated[float, typer.Option(help="Of training, for each speaker.")] = 6.0,
    out: Annotated[Path, typer.Option(help="Folder of recordings and models.")] = CACHE / "digits",
) -> None:
    """Print the WER on each held-out speaker; the last line is one JSON object."""
    recordings = unpack(archive, out / "recordings")
    wer: dict[str, float] = {}
    before: dict[str, float] = {}
    for held_out in speaker or sorted({each.speaker for each in recordings}):
        folder = out / held_out
        write_manifests(recordings, held_out, folder)
        figures = finetune(base, folder, minutes, out / "models", f"digits-{held_out}")
        test = figures["tests"]["test.jsonl"]
        wer[held_out], before[held_out] = test["after"], test["before"]
        typer.echo(f"{held_out:12} {test['before']:7.2f}% before {test['after']:7.2f}% after")
    typer.echo(json.dumps({"wer_before": before, "wer": wer, "minutes": minutes}))


def unpack(archive: Path, folder: Path) -> list[Recording]:
    """All recordings of `archive`, unpacked to `folder` if they are not there yet."""
    if not folder.exists():
        unfinished = folder.with_suffix(".partial")
        with tarfile.open(archive) as tar:
            tar.extractall(unfinished, filter="data")
        unfinished.rename(folder)
    found = []
    for path in sorted(folder.rglob("*.wav")):
        digit, name, take = path.stem.split("_")
        found.append(Recording(path, int(digit), name, int(take)))
    return found


def write_manifests(recordings: Iterable[Recording], held_out: str, folder: Path) -> None:
    """Write `train.jsonl`, `validation.jsonl` and `test.jsonl` to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    parts: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for each in recordings:
        line = {
            "audio_filepath": str(each.path.resolve()),
            "duration": round(soundfile.info(each.path).duration, 4),
            "text": WORDS[each.digit],
            "domain": "digits",
            "voice": each.speaker,
        }
        if each.speaker == held_out:
            part = "test"
        else:
            part = "validation" if each.take in VALIDATION_TAKES else "train"
        parts[part].append(json.dumps(line) + "\n")
    for part, lines in parts.items():
        (folder / f"{part}.jsonl").write_text("".join(lines))


def finetune(base: Path, data: Path, minutes: float, models: Path, name: str) -> dict:
    """Run `chorus finetune` on the manifests in `data`; its figures."""
    command = [sys.executable, "-m", "workers.cli", "finetune", f"{base}", "--domain", "digits"]
    command += ["--name", name, "--output", f"{models}", "--minutes", f"{minutes}"]
    for part in ("train", "validation", "test"):
        command += [f"--{part}", f"{data / part}.jsonl"]
    # few speakers and one word each: more variety, smaller batches
    command += ["--speed", "0.15", "--batch-seconds", "24", "--check-every", "100"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict = json.loads(done.stdout.splitlines()[-1])
    return figures


if __name__ == "__main__":
    typer.run(main)
