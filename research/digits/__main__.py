"""`python -m research.digits ARCHIVE`: fine-tune on spoken digits, test on a held-out speaker.

ARCHIVE is the Free Spoken Digit Dataset as a .tar.gz: files `{digit}_{speaker}_{take}.wav`, 8 kHz.
For each speaker in turn, `chorus finetune` trains a demo model on the others: takes 5 and up are
the training data, takes 0 to 4 the validation data, and all takes of the held-out speaker the test
data. Synthesised digits, which are made first, are mixed in: four speakers are too few.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer

from deploy.demo import MODELS
from deploy.local import CHORUS
from research import CACHE
from research.digits import voices
from research.digits.recordings import WORDS, Recording, manifest_line, unpack
from research.training import environment
from workers import exit_codes

#: Takes of the data set's own test set, used for validation here.
VALIDATION_TAKES = range(5)
#: Shares of the synthesised digits in an epoch.
SHARES = {"accents": 0.35, "natives": 0.3}


def main(
    archive: Annotated[Path, typer.Argument(help="The data set, a .tar.gz.")],
    speaker: Annotated[
        list[str] | None, typer.Option(help="Hold out only this speaker; repeatable.")
    ] = None,
    base: Annotated[Path, typer.Option(help="Model to start from.")] = MODELS / "telephony.nemo",
    steps: Annotated[int, typer.Option(help="Training steps for each speaker.")] = 800,
    jobs: Annotated[int, typer.Option(help="Concurrent trainings, one thread each.")] = 2,
    out: Annotated[Path, typer.Option(help="Folder for speech and models.")] = CACHE / "digits",
) -> None:
    """Print the WER on each held-out speaker; the last line is one JSON object."""
    start = time.monotonic()
    recordings = unpack(archive, out / "people")
    speakers = sorted({each.speaker for each in recordings})
    if unknown := set(speaker or ()) - set(speakers):
        raise typer.BadParameter(f"{', '.join(unknown)}: the archive has {', '.join(speakers)}")
    voices.make(out)
    typer.echo(f"speech is ready after {time.monotonic() - start:.0f} s")
    mix = {out / f"{name}.jsonl": share for name, share in SHARES.items()}

    def hold_out(name: str) -> dict[str, Any]:
        write_manifests(recordings, name, out / name)
        figures = finetune(base, out / name, mix, steps, out / "models", f"digits-{name}")
        test = figures["tests"]["test.jsonl"]
        typer.echo(f"{name:12} {test['before']:7.2f}% before {test['after']:7.2f}% after")
        return figures

    names = speaker or speakers
    with ThreadPoolExecutor(jobs) as pool:
        figures = dict(zip(names, pool.map(hold_out, names), strict=True))
    line = {
        "wer": {name: each["tests"]["test.jsonl"]["after"] for name, each in figures.items()},
        "training_seconds": {name: each["seconds"] for name, each in figures.items()},
    }
    typer.echo(json.dumps(line))


def write_manifests(recordings: Iterable[Recording], held_out: str, folder: Path) -> None:
    """Write `train.jsonl`, `validation.jsonl` and `test.jsonl` to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    parts: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for each in recordings:
        paths: Iterable[Path] = [each.path]
        if each.speaker == held_out:
            part = "test"
        elif each.take in VALIDATION_TAKES:
            part = "validation"
        else:
            part, paths = "train", each.variants
        parts[part] += [manifest_line(path, WORDS[each.digit], each.speaker) for path in paths]
    for part, lines in parts.items():
        (folder / f"{part}.jsonl").write_text("".join(lines))


def finetune(
    base: Path, data: Path, mix: Mapping[Path, float], steps: int, models: Path, name: str
) -> dict[str, Any]:
    """Run `chorus finetune` on the manifests in `data`, and return its figures."""
    command = [*CHORUS, "finetune", f"{base}", "--domain", "digits"]
    command += ["--name", name, "--output", f"{models}", "--steps", f"{steps}"]
    for part in ("train", "validation", "test"):
        command += [f"--{part}", f"{data / part}.jsonl"]
    for manifest, share in mix.items():
        command += ["--mix", f"{manifest}={share}"]
    # enough tokens for one per word
    command += ["--new-vocabulary", "52"]
    # the mean of each bin over a one-word clip tells which word it is; per_feature removes it
    command += ["--preprocessor", "normalize=all_features"]
    # the clips already have many kinds of microphones and pauses
    command += ["--speed", "0.2", "--tempo", "0.25", "--silence", "0.15"]
    command += ["--noise", "0.5", "--lowest-snr", "6", "--coloured"]
    command += ["--learning-rate", "1e-3", "--batch-seconds", "40", "--check-every", "200"]
    log = data / "training.log"
    typer.echo(f"{name}: see {log}")
    with log.open("w") as lines:  # one log each, since trainings run concurrently
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=lines, text=True, check=False, env=environment()
        )
    if done.returncode not in (exit_codes.OK, exit_codes.NOT_BETTER):
        raise typer.Exit(done.returncode)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


if __name__ == "__main__":
    typer.run(main)
