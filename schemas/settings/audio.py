"""The section `audio`: what audio may be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec

from schemas.channels import Channel, channel_of
from schemas.settings.types import Fault, PositiveFloat, PositiveInt, Strict
from schemas.settings.values import read_by


class AudioSettings(Strict):
    """What audio may be read.

    Attributes:
        roots: folders that audio must lie in, checked after symbolic links are resolved;
            relative ones are relative to the settings file.
        max_seconds: longest segment in seconds.
        max_bytes: largest file in bytes.
        max_channels: most channels of a file.
        channel: of records and requests that do not say which channel they mean: the one of this
            number, from 0, `mean` of all, or `each` by itself. Unless given it is the mean, or one
            channel where they cancel each other.
        max_each_seconds: most seconds of audio that the channels of a recording hold together,
            where each is transcribed by itself; an hour of two channels unless given.
        min_sample_rate: lowest sample rate of a file in hertz.
        max_sample_rate: highest sample rate of a file in hertz.
        threads: files that each Router replica reads at once.
    """

    roots: Annotated[list[str], msgspec.Meta(min_length=1)]
    max_seconds: PositiveFloat = 3600.0
    max_bytes: PositiveInt = 1 << 30
    max_channels: PositiveInt = 8
    channel: Annotated[Channel | None, read_by(channel_of)] = None
    max_each_seconds: PositiveFloat = 7200.0
    min_sample_rate: PositiveInt = 4_000
    max_sample_rate: PositiveInt = 192_000
    threads: PositiveInt = 4


def audio_faults(audio: AudioSettings, base: Path | None) -> Iterator[Fault]:
    """What contradicts itself in the section.

    Args:
        audio: the section.
        base: folder that relative folders are relative to; None if folders are not looked for.
    """
    for index, root in enumerate(audio.roots):
        if base is not None and not (base / root).is_dir():
            yield f"audio.roots[{index}]", f"no such folder: {root}"
    if audio.min_sample_rate > audio.max_sample_rate:
        yield "audio.min_sample_rate", "is greater than `max_sample_rate`"
