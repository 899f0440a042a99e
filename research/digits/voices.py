"""Synthesised digits, as training data beside the recordings.

Needs Debian's espeak-ng, flite and festival. There are two sets, each a folder of clips with its
manifest: `natives`, with every variant and English accent of espeak-ng, flite and festival; and
`accents`, with English digits by espeak-ng's voices for other languages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import soundfile
import soxr
import typer
from numpy.random import default_rng

from research.corpus.voices import SAMPLE_RATE, Prompt, run, synthesise
from research.digits.accents import SPELLED
from research.digits.augmentation import augmented, trimmed
from research.digits.recordings import RATE, WORDS, manifest_line
from serve_app.system.files import atomic_write

_ENGLISH = (
    *("en-us", "en-gb", "en-gb-scotland", "en-gb-x-gbclan"),
    *("en-gb-x-rp", "en-gb-x-gbcwmd", "en-029", "en-us-nyc"),
)
#: Variants of espeak-ng that do not sound human.
_ODD = re.compile(r"whisper|croak|Robo|robo|Demonic|fast_test|Storm|zac|Alicia")
_OTHERS = {"flite:kal16": 15, "flite:awb": 40, "flite:rms": 40, "flite:slt": 40}
_OTHERS |= {"festival:kal_diphone": 15, "festival:ked_diphone": 40}
#: Clips of each digit in each language.
_TIMES = 24
_SHARD = 50

Spoken = tuple[Prompt, str]


def make(out: Path) -> None:
    """Synthesise the sets that are not in `out` yet: about 13,000 clips."""
    for name, prompts in SETS.items():
        manifest = out / f"{name}.jsonl"
        if not manifest.exists():
            lines = _write(out / name, list(prompts()))
            atomic_write(manifest, "".join(lines))
            typer.echo(f"{len(lines)} clips of {name}")


def _variants() -> list[str]:
    listed = run(["espeak-ng", "--voices=variant"]).decode()
    return [name for name in re.findall(r"!v/(\S+)", listed) if not _ODD.search(name)]


def _natives() -> Iterator[Spoken]:
    rng = default_rng(1)
    for variant, accent, _ in product(_variants(), _ENGLISH, range(2)):
        for digit in rng.permutation(10)[:5]:
            tempo, pitch = rng.uniform(0.6, 1.4), rng.uniform(0.3, 1.7)
            word = WORDS[digit]
            yield Prompt(word, f"espeak:{accent}+{variant}", tempo, pitch), word
    for voice, times in _OTHERS.items():
        for word, _ in product(WORDS, range(times)):
            yield Prompt(word, voice, rng.uniform(0.7, 1.3)), word


def _accents() -> Iterator[Spoken]:
    rng = default_rng(2)
    variants = _variants()
    for language, spelled in SPELLED.items():
        for (word, spelling), _ in product(zip(WORDS, spelled.split(), strict=True), range(_TIMES)):
            voice = f"espeak:{language}+{rng.choice(variants)}"
            tempo, pitch = rng.uniform(0.65, 1.35), rng.uniform(0.3, 1.7)
            yield Prompt(spelling, voice, tempo, pitch), word


def _write(folder: Path, spoken: Sequence[Spoken]) -> list[str]:
    """Write clips like the recordings, at their rate and augmented; return the manifest's lines."""
    folder.mkdir(parents=True, exist_ok=True)
    prompts = [prompt for prompt, _ in spoken]
    shards = [prompts[i : i + _SHARD] for i in range(0, len(prompts), _SHARD)]
    with ThreadPoolExecutor(2) as pool:
        clips = [clip for shard in pool.map(synthesise, shards) for clip in shard]
    lines = []
    for number, (samples, (prompt, word)) in enumerate(zip(clips, spoken, strict=True)):
        rng = default_rng(number)
        narrow = soxr.resample(trimmed(samples, SAMPLE_RATE, rng), SAMPLE_RATE, RATE)
        changed = augmented(narrow, RATE, rng, has_noise=False)
        path = folder / f"{number:05}.wav"
        soundfile.write(path, changed, SAMPLE_RATE)
        lines.append(manifest_line(path, word, prompt.voice))
    return lines


SETS = {"natives": _natives, "accents": _accents}
