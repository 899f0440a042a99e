"""`python -m deploy.digits ARCHIVE`: fine-tune on spoken digits, test on a speaker never heard.

ARCHIVE is the Free Spoken Digit Dataset as a .tar.gz: files `{digit}_{speaker}_{take}.wav`, 8 kHz.
For each speaker in turn a demo model learns from the others by `chorus finetune`: takes 5 and up
are the training data, takes 0 to 4 the validation data, and all of the speaker's own the test.
Synthesised digits are mixed in where `python -m deploy.digits.voices` has made them before.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import soundfile
import typer

from deploy.demo import CACHE, MODELS
from deploy.digits.recordings import WORDS, Recording, unpack
from deploy.local import CHORUS

#: Takes of the data set's own test set.
VALIDATION_TAKES = range(5)
#: Shares of synthesised digits in a pass, where `deploy.digits.voices` has made them.
SHARES = {"classic": 0.25, "neural": 0.35}


def main(
    archive: Annotated[Path, typer.Argument(help="The data set, a .tar.gz.")],
    speaker: Annotated[
        list[str] | None, typer.Option(help="Hold out only this one; repeatable.")
    ] = None,
    base: Annotated[Path, typer.Option(help="Model to start from.")] = MODELS / "telephony.nemo",
    steps: Annotated[int, typer.Option(help="Of training, for each speaker.")] = 1200,
    out: Annotated[Path, typer.Option(help="Folder of recordings and models.")] = CACHE / "digits",
) -> None:
    """Print the WER on each held-out speaker; the last line is one JSON object."""
    recordings = unpack(archive, out / "recordings")
    wer: dict[str, float] = {}
    seconds: dict[str, float] = {}
    for held_out in speaker or sorted({each.speaker for each in recordings}):
        folder = out / held_out
        write_manifests(recordings, held_out, folder)
        mix = [f"{out / name}.jsonl={share}" for name, share in SHARES.items()]
        made = [each for each in mix if Path(each.rpartition("=")[0]).exists()]
        figures = finetune(base, folder, made, steps, out / "models", f"digits-{held_out}")
        test = figures["tests"]["test.jsonl"]
        wer[held_out], seconds[held_out] = test["after"], figures["seconds"]
        typer.echo(f"{held_out:12} {test['before']:7.2f}% before {test['after']:7.2f}% after")
    typer.echo(json.dumps({"wer": wer, "training_seconds": seconds}))


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


def finetune(
    base: Path, data: Path, mix: Iterable[str], steps: int, models: Path, name: str
) -> dict:
    """Run `chorus finetune` on the manifests in `data`; its figures."""
    command = [*CHORUS, "finetune", f"{base}", "--domain", "digits"]
    command += ["--name", name, "--output", f"{models}", "--steps", f"{steps}"]
    for part in ("train", "validation", "test"):
        command += [f"--{part}", f"{data / part}.jsonl"]
    for each in mix:
        command += ["--mix", each]
    # ten words, and a piece for each of them
    command += ["--new-vocabulary", "52"]
    # few speakers, each by one microphone: all the variety that can be had
    command += ["--speed", "0.2", "--tempo", "0.25", "--rooms", "0.2", "--equaliser", "6"]
    command += ["--silence", "0.35", "--lowest-snr", "6", "--coloured"]
    command += ["--learning-rate", "1e-3", "--batch-seconds", "40", "--check-every", "100"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict = json.loads(done.stdout.splitlines()[-1])
    return figures


if __name__ == "__main__":
    typer.run(main)
