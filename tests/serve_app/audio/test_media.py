"""The limits of the decoder itself, without a worker process."""

from __future__ import annotations

from pathlib import Path

import av
import msgspec
import pytest

from schemas.failures import ErrorCode
from schemas.settings import AudioSettings
from serve_app.audio import AudioError, ffmpeg
from serve_app.audio.clip import Clip, Recording
from serve_app.audio.formats import read_header
from serve_app.audio.recordings import decode_segment
from tests.serve_app.audio.media_files import encode
from tests.serve_app.audio.sounds import sweep

LIMITS = AudioSettings(roots=["/"], max_seconds=20)


def decode(path: Path, limits: AudioSettings) -> Recording:
    with path.open("rb") as file:
        fd = file.fileno()
        return decode_segment(fd, read_header(fd), sample_rate=16_000, limits=limits)


@pytest.mark.parametrize("limit", [{"max_channels": 1}, {"max_sample_rate": 44_100}])
def test_limits_on_the_audio(tmp_path: Path, limit: dict[str, int]) -> None:
    path = encode(tmp_path / "clip", sweep(1, 48_000, 2), "mp4", "aac", layout="stereo")
    limits = msgspec.structs.replace(AudioSettings(roots=["/"]), **limit)
    with pytest.raises(AudioError) as caught:
        decode(path, limits)
    assert caught.value.code is ErrorCode.AUDIO_UNSUPPORTED


def test_decoding_stops_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encode(tmp_path / "clip", sweep(30, 16_000), "mov", "pcm_s16le", rate=16_000)
    samples = 0
    channels_of = ffmpeg._channels

    def count(frame: av.AudioFrame) -> list[Clip]:
        nonlocal samples
        samples += frame.samples
        return channels_of(frame)

    monkeypatch.setattr(ffmpeg, "_channels", count)
    with pytest.raises(AudioError) as caught:
        decode(path, LIMITS)
    assert caught.value.code is ErrorCode.AUDIO_TOO_LONG
    assert samples <= 20 * 16_000


@pytest.mark.parametrize(("container", "codec"), [("mp4", "aac"), ("webm", "libopus")])
def test_packets_are_counted_not_the_file(tmp_path: Path, container: str, codec: str) -> None:
    """An index can name the same bytes many times."""
    path = encode(tmp_path / "clip", sweep(2, 48_000), container, codec)
    limits = AudioSettings(roots=["/"], max_bytes=5_000)
    with pytest.raises(AudioError) as caught:
        decode(path, limits)
    assert caught.value.code is ErrorCode.AUDIO_TOO_LARGE
