"""A language of tones, and a small CTC model that understands it.

Its letters are tones, its words three letters, its sentences words with pauses: speech whose text
and word times are known exactly. The model lies beside this file, which makes it, in a minute:

    python -m tests.serve_app.engines.nemo.tones
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tests.serve_app.engines.nemo.tiny_models import SAMPLE_RATE, config_of

_HERTZ = {"a": 350, "e": 700, "i": 1400, "o": 2800}
_NOTE_SECONDS = 0.16
_LABELS = [" ", *_HERTZ]
_STEPS = 300

MODEL = Path(__file__).with_suffix(".nemo")


def speak(
    text: str, *, lead: float = 0.3, pause: float = 0.3, tail: float = 0.3, seed: int = 0
) -> tuple[npt.NDArray[np.float32], list[tuple[str, float, float]]]:
    """The sound of `text`, and its words with the seconds where they start and end.

    Args:
        lead, pause, tail: seconds of silence before, between and after the words.
    """
    parts = [_silence(lead)]
    words: list[tuple[str, float, float]] = []
    for word in text.split():
        if words:
            parts.append(_silence(pause))
        start = sum(map(len, parts)) / SAMPLE_RATE
        parts.extend(_note(letter) for letter in word)
        words.append((word, start, sum(map(len, parts)) / SAMPLE_RATE))
    sound = np.concatenate([*parts, _silence(tail)])
    hiss = np.random.default_rng(seed).normal(0, 0.002, len(sound))
    return (sound + hiss).astype(np.float32), words


def sentence(words: int, seed: int) -> str:
    """Random words."""
    rng = np.random.default_rng(seed)
    return " ".join("".join(_word(rng)) for _ in range(words))


def _word(rng: np.random.Generator) -> Iterable[str]:
    return rng.permutation(list(_HERTZ))[:3]


def _silence(seconds: float) -> npt.NDArray[np.float64]:
    return np.zeros(int(seconds * SAMPLE_RATE))


def _note(letter: str) -> npt.NDArray[np.float64]:
    time = np.arange(int(_NOTE_SECONDS * SAMPLE_RATE)) / SAMPLE_RATE
    fade = np.hanning(len(time)) ** 0.3
    return 0.2 * np.sin(2 * np.pi * _HERTZ[letter] * time) * fade


def train(path: Path) -> None:
    """Train the model from nothing, and write it as a `.nemo` file."""
    from nemo.collections.asr.models import EncDecCTCModel
    from omegaconf import OmegaConf

    torch.manual_seed(0)
    torch.set_num_threads(1)
    _, config = config_of("ctc_char", tokenizer=path)
    config["labels"] = _LABELS
    config["encoder"] |= {"subsampling_factor": 4}
    config["decoder"] |= {"num_classes": len(_LABELS), "vocabulary": _LABELS}
    model: Any = EncDecCTCModel(cfg=OmegaConf.create(config))
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=_STEPS)
    rng = np.random.default_rng(0)
    model.train()
    for _ in range(_STEPS):
        signal, lengths, targets, sizes = _batch(rng)
        logprobs, frames, _ = model.forward(input_signal=signal, input_signal_length=lengths)
        loss = torch.nn.functional.ctc_loss(
            logprobs.transpose(0, 1), targets, frames, sizes, blank=len(_LABELS), zero_infinity=True
        )
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.save_to(str(path))


def _batch(rng: np.random.Generator, size: int = 16) -> tuple[torch.Tensor, ...]:
    texts = [sentence(int(rng.integers(1, 4)), int(rng.integers(1 << 30))) for _ in range(size)]
    lead, pause, tail = rng.uniform(0.1, 0.5, 3)
    sounds = [
        torch.from_numpy(speak(text, lead=lead, pause=pause, tail=tail, seed=seed)[0])
        for seed, text in enumerate(texts)
    ]
    labels = [torch.tensor([_LABELS.index(letter) for letter in text]) for text in texts]
    return (
        torch.nn.utils.rnn.pad_sequence(sounds, batch_first=True),
        torch.tensor([len(sound) for sound in sounds]),
        torch.cat(labels),
        torch.tensor([len(each) for each in labels]),
    )


if __name__ == "__main__":
    train(MODEL)
