"""Reading every channel of a recording, one after another."""

from __future__ import annotations

from schemas.failures import ErrorCode
from schemas.settings import AudioSettings
from serve_app.audio.clip import SAMPLE_RATE, Recording
from serve_app.audio.errors import AudioError


def others(first: Recording, limits: AudioSettings) -> range:
    """The channels that are left to be read, after the first one, channel 0.

    None where all hold the same: one of them is enough.

    Args:
        first: channel 0 at `SAMPLE_RATE`, which tells how many there are.
        limits: on the seconds of all together.

    Raises:
        AudioError: `AUDIO_TOO_LONG`: they are more than `max_each_seconds`; the message does not
            name the file.
    """
    if first.all_equal:
        return range(0)
    seconds = first.channels * len(first.clip) / SAMPLE_RATE
    if seconds > limits.max_each_seconds:
        raise AudioError(
            ErrorCode.AUDIO_TOO_LONG,
            f"has {first.channels} channels, {seconds:.1f} s together; `audio.max_each_seconds` is "
            f"{limits.max_each_seconds:g}; cut it, or name one `channel`",
        )
    return range(1, first.channels)
