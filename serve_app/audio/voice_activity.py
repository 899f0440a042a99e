"""Voice activity detection by Silero VAD (https://github.com/snakers4/silero-vad)."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from serve_app.audio.clip import Clip
from serve_app.audio.resample import resample

_RATE = 16_000
#: Samples of a frame, and of the audio before it that the network also takes: 32 ms and 4 ms.
_FRAME, _CONTEXT = 512, 64
#: Length of a frame in seconds.
FRAME_S = _FRAME / _RATE
#: Most frames in one call of the network, which then takes 15 MB.
_MAX_FRAMES = 2048
#: A frame with at least this probability is speech; the default of silero-vad.
_THRESHOLD = 0.5


def speech_share(clip: Clip, sample_rate: int) -> float:
    """Share of the clip in which somebody speaks, 0 to 1.

    Args:
        clip: float32 mono at `sample_rate` Hz. Takes some 2 ms of CPU for a second of it.
        sample_rate: in hertz.
    """
    found = speech_probabilities(resample(clip, sample_rate, _RATE))
    return float(np.mean(found >= _THRESHOLD)) if len(found) else 0.0


def speech_probabilities(clip: Clip) -> Clip:
    """The probability of speech in each 32 ms of `clip`, whose end is padded with silence."""
    if not len(clip):
        return np.zeros(0, np.float32)
    session = _session()
    count = -(-len(clip) // _FRAME)
    padded = np.zeros(_CONTEXT + count * _FRAME, np.float32)
    padded[_CONTEXT : _CONTEXT + len(clip)] = clip
    windows = np.lib.stride_tricks.sliding_window_view(padded, _CONTEXT + _FRAME)[::_FRAME]
    hidden = cell = np.zeros((1, 1, 128), np.float32)
    found = []
    for start in range(0, count, _MAX_FRAMES):
        block = np.ascontiguousarray(windows[start : start + _MAX_FRAMES])
        some, hidden, cell = session.run(None, {"input": block, "h": hidden, "c": cell})
        found.append(some)
    return np.concatenate(found)


@cache
def _session() -> Any:
    """The network, which runs on one thread, the caller's; safe to share between threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    package = find_spec("silero_vad")  # importing it would import torch
    if package is None or package.origin is None:
        raise ImportError("silero-vad is not installed")
    path = Path(package.origin).parent / "data" / "silero_vad_16k_sequence.onnx"
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
