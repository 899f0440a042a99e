"""Of a long WAV file only what a segment needs is fetched, and it is what the whole file has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.failures import ErrorCode
from schemas.settings import AudioSettings
from serve_app.audio import AudioLoader
from tests.serve_app.audio.conftest import Refused
from tests.serve_app.audio.remote.server import StoreServer
from tests.serve_app.audio.sounds import chunk

pytestmark = pytest.mark.timeout(60)
Sound = Callable[..., bytes]
PATH, URL = "/calls/2026/long", "s3://calls/2026/long"
SEGMENTS = [(0.0, 5.0), (3.0, 2.0), (100.25, 4.0), (115.0, 5.0), (119.9, None), (118.0, 2.08)]


def fetched(store: StoreServer, path: str = PATH) -> int:
    """Bytes that were asked for, and forgets about it."""
    ranges = [each.range for each in store.requests(path)]
    store.asked.clear()
    size = len(store.objects[path])
    total = 0
    for each in ranges:
        assert each is not None
        first, last = each.removeprefix("bytes=").split("-")
        total += min(int(last) + 1, size) - int(first)
    return total


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"codec": "PCM_24"},
        {"codec": "ULAW", "container": "WAV"},
        {"codec": "FLOAT", "container": "WAVEX"},
        {"container": "RF64"},
    ],
)
def test_segments_of_long_wav_files(
    how: dict[str, Any], s3: StoreServer, bucket: AudioLoader, sound: Sound, tmp_path: Path
) -> None:
    data = s3.objects[PATH] = sound(120, **how)
    local = AudioLoader(AudioSettings(roots=[str(tmp_path)]))
    for offset, duration in SEGMENTS:
        expected = local.load("sound", offset=offset, duration=duration)
        assert np.array_equal(bucket.load(URL, offset=offset, duration=duration), expected)
        spare = 1 << 20 if offset == 0 else 1 << 16
        assert fetched(s3) <= spare + len(data) * (len(expected) / 16_000 + 2.1) / 120


def test_segments_on_a_web_server(
    web: StoreServer, site: AudioLoader, sound: Sound, tmp_path: Path
) -> None:
    data = web.objects["/calls/long"] = sound(120)
    local = AudioLoader(AudioSettings(roots=[str(tmp_path)]))
    expected = local.load("sound", offset=60, duration=5)
    assert np.array_equal(site.load("long", offset=60, duration=5), expected)
    assert fetched(web, "/calls/long") < len(data) / 10


def test_chunks_behind_the_samples(
    s3: StoreServer, bucket: AudioLoader, sound: Sound, tmp_path: Path
) -> None:
    data = s3.objects[PATH] = sound(120) + chunk(b"LIST", b"INFO" + bytes(2_000))
    (tmp_path / "sound").write_bytes(data)
    local = AudioLoader(AudioSettings(roots=[str(tmp_path)]))
    expected = local.load("sound", offset=60, duration=5)
    assert np.array_equal(bucket.load(URL, offset=60, duration=5), expected)
    assert fetched(s3) < len(data) / 10


def test_of_other_formats_the_whole_is_fetched(
    s3: StoreServer, bucket: AudioLoader, sound: Sound, tmp_path: Path
) -> None:
    s3.objects[PATH] = sound(120, container="FLAC")
    local = AudioLoader(AudioSettings(roots=[str(tmp_path)]))
    expected = local.load("sound", offset=100, duration=4)
    assert np.array_equal(bucket.load(URL, offset=100, duration=4), expected)
    assert fetched(s3) == len(s3.objects[PATH])


def test_damage_is_noticed_as_in_a_file(
    s3: StoreServer, bucket: AudioLoader, sound: Sound, refused: Refused
) -> None:
    whole = sound(120)
    s3.objects[PATH] = whole[:-1_000_000]
    assert len(bucket.load(URL, offset=20, duration=4)) == 64_000
    refused(ErrorCode.AUDIO_UNDECODABLE, URL, by=bucket, offset=88)
    s3.objects[PATH] = whole + whole
    refused(ErrorCode.AUDIO_UNDECODABLE, URL, by=bucket, offset=20, duration=4)
    s3.objects[PATH] = whole
    refused(ErrorCode.AUDIO_EMPTY, URL, by=bucket, offset=1e9, duration=4)
    refused(ErrorCode.AUDIO_UNDECODABLE, URL, by=bucket, offset=110, duration=20)
