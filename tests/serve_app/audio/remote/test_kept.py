"""A recording of which many segments are asked is fetched once, and read ahead of its turn."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from schemas.failures import ErrorCode
from schemas.manifest import ManifestRecord
from schemas.settings import AudioSettings
from serve_app.audio import AudioError, AudioLoader
from serve_app.audio.reading import Loaded, RecordReader, load_all
from tests.serve_app.audio.remote.server import StoreServer

pytestmark = pytest.mark.timeout(60)
Sound = Callable[..., bytes]
PATH, URL = "/calls/2026/long", "s3://calls/2026/long"


def further_parts(store: StoreServer) -> int:
    """How many parts were asked for that are not the first of their recording."""
    starts = [int(each.range.split("=")[1].split("-")[0]) for each in store.asked if each.range]
    return sum(start > 0 for start in starts)


def open_recordings() -> int:
    """Descriptors of unnamed files of this process."""
    count = 0
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # that of the listing itself
            target = os.readlink(f"/proc/self/fd/{number}")
            count += "memfd:audio" in target or "(deleted)" in target
    return count


def test_segments_of_a_recording_that_is_kept(
    s3: StoreServer, bucket: AudioLoader, sound: Sound
) -> None:
    s3.objects[PATH] = sound(120, container="FLAC")
    clips = [bucket.load(URL, offset=at, duration=2) for at in (10, 50, 90)]
    assert further_parts(s3) == 1
    assert len({clip.tobytes() for clip in clips}) == 3
    s3.objects[PATH] = sound(110, container="FLAC")  # another version
    assert len(bucket.load(URL, offset=50)) == 60 * 16_000
    assert further_parts(s3) == 2
    del s3.objects[PATH]
    with pytest.raises(AudioError) as caught:
        bucket.load(URL, offset=50, duration=2)
    assert caught.value.code is ErrorCode.AUDIO_MISSING


def test_threads_that_want_the_same_recording_fetch_it_once(
    s3: StoreServer, bucket: AudioLoader, sound: Sound
) -> None:
    s3.objects[PATH] = sound(120, container="FLAC")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda at: bucket.load(URL, offset=at, duration=2), range(10, 26)))
    assert further_parts(s3) == 1


def test_what_was_not_asked_for_lately_goes_and_no_descriptor_is_left(
    s3: StoreServer, sound: Sound
) -> None:
    data = sound(120, container="FLAC")
    s3.objects = {f"/calls/{name}": data for name in "abc"}
    settings = AudioSettings(roots=["s3://calls"], cache_bytes=2 * len(data))
    loader = AudioLoader(settings)
    loader.load("a", duration=1)
    before = open_recordings()

    def fetches(name: str) -> bool:
        s3.asked.clear()
        loader.load(name, offset=20, duration=1)
        return further_parts(s3) > 0

    assert [fetches(name) for name in "baca"] == [True, False, True, False]
    assert fetches("b")
    assert open_recordings() == before + 1
    none = AudioLoader(AudioSettings(roots=["s3://calls"], cache_bytes=0))
    s3.asked.clear()
    for _ in range(2):
        none.load("a", offset=20, duration=1)
    assert further_parts(s3) == 2


def test_reading_ahead(s3: StoreServer, bucket: AudioLoader, sound: Sound) -> None:
    s3.objects[PATH] = sound(2)
    before = open_recordings()
    ahead = bucket.fetch_ahead(URL, offset=1)
    assert ahead is not None
    clip = bucket.read(URL, offset=1, ahead=ahead).clip
    assert np.array_equal(clip, bucket.load(URL, offset=1))
    assert len(s3.asked) == 2
    absent = bucket.fetch_ahead("absent")
    with pytest.raises(AudioError, match="absent: no such object"):
        bucket.read("absent", ahead=absent)
    unused = bucket.fetch_ahead(URL)
    assert unused is not None
    os.close(unused.take())
    assert bucket.fetch_ahead("/somewhere/else") is None
    assert open_recordings() == before


def test_the_recordings_of_a_list_are_fetched_at_the_same_time(
    s3: StoreServer, bucket: AudioLoader, sound: Sound
) -> None:
    data, together = sound(1), threading.Barrier(4)

    class Patient(dict[str, bytes]):
        def get(self, path: str, default: object = None) -> bytes:
            together.wait(10)  # for the other requests
            return data

    s3.objects = Patient()
    records = [ManifestRecord(id=name, audio_filepath=f"{name}.wav") for name in "abcd"]
    loaded = load_all(RecordReader(bucket).begin, records)
    assert [len(each.clip) for each in loaded if isinstance(each, Loaded)] == [16_000] * 4
