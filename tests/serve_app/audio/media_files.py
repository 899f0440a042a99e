"""Real media files for the tests: made by FFmpeg, with or without video."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile

from tests.serve_app.audio.sounds import Samples


def encode(
    path: Path,
    samples: Samples,
    container: str,
    codec: str,
    *,
    rate: int = 48_000,
    layout: str = "mono",
    video: str | None = None,
    options: Mapping[str, str] | None = None,
) -> Path:
    """Write `samples`, as `sweep` makes them, by FFmpeg; `options` are those of its muxer."""
    with av.open(str(path), "w", format=container, options=dict(options or {})) as output:
        pictures = add_video(output, video) if video else None
        stream: Any = output.add_stream(codec, rate=rate, layout=layout)
        stream.codec_context.options = {"strict": "experimental"}
        context = stream.codec_context
        packed = np.ascontiguousarray(samples.reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(packed, "flt", layout)
        frame.sample_rate = rate
        split = av.AudioResampler(
            context.format, layout, rate, frame_size=context.frame_size or 1_024
        )
        for part in [*split.resample(frame), *split.resample(None), None]:
            output.mux([packet for packet in stream.encode(part) if packet.size])
        if pictures is not None:
            show(output, pictures)
    return path


def add_video(output: Any, codec: str) -> Any:
    stream = output.add_stream(codec, rate=10)
    stream.width = stream.height = 64
    stream.pix_fmt = "yuv420p"
    return stream


def show(output: Any, stream: Any) -> None:
    """Two seconds of noise to look at."""
    random = np.random.default_rng(5)
    for _ in range(20):
        picture = random.integers(0, 255, (64, 64, 3), dtype=np.uint8)
        output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
    output.mux(stream.encode())


def film(path: Path) -> Path:
    """A film without sound."""
    with av.open(str(path), "w", format="mp4") as output:
        show(output, add_video(output, "libx264"))
    return path


def silence(path: Path, seconds: int, rate: int = 8_000) -> Path:
    """A FLAC file of a few bytes a second."""
    with soundfile.SoundFile(path, "w", rate, 1, format="FLAC") as file:
        for _ in range(seconds // 60):
            file.write(np.zeros(60 * rate, np.float32))
    return path
