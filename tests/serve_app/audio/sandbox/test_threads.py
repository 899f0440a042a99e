"""Records whose files only FFmpeg reads: the loader has them decoded by worker processes."""

from __future__ import annotations

import asyncio
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest

from schemas.failures import ErrorCode
from schemas.settings import AudioSettings
from serve_app.audio import AudioError, AudioLoader
from tests.processes import command_of
from tests.serve_app.audio.media_files import encode, film
from tests.serve_app.audio.sandbox.workers import until
from tests.serve_app.audio.sounds import sweep

FORMATS = [("mp4", "aac"), ("webm", "libopus"), ("adts", "aac"), ("mov", "pcm_s16le")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("media")
    for container, codec in FORMATS:
        encode(found / container, sweep(5, 48_000), container, codec)
    film(found / "film.mp4")
    whole = (found / "mp4").read_bytes()
    (found / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    return found


@pytest.fixture(scope="module")
def shared(folder: Path) -> AudioLoader:
    return AudioLoader(AudioSettings(roots=[str(folder)], threads=2, max_seconds=10))


@pytest.fixture
def own(folder: Path) -> AudioLoader:
    """A loader with a worker of its own, for what harms it."""
    return AudioLoader(AudioSettings(roots=[str(folder)], threads=1))


def workers() -> set[psutil.Process]:
    return {
        each
        for each in psutil.Process().children()
        if "serve_app.audio.sandbox.child" in command_of(each)
    }


def asked(loader: AudioLoader) -> int:
    """How many requests the only worker has had."""
    assert loader._apart is not None
    [decoder] = loader._apart._decoders.values()
    [worker] = decoder._workers
    return worker._requests


@pytest.mark.parametrize("container", [container for container, _ in FORMATS])
def test_segments_are_those_of_the_whole(shared: AudioLoader, container: str) -> None:
    whole = shared.load(container)
    for offset, duration in ((0.0, 1.0), (1.25, 2.5), (4.0, None)):
        first = round(offset * 16_000)
        last = len(whole) if duration is None else round((offset + duration) * 16_000)
        segment = shared.load(container, offset=offset, duration=duration)
        assert len(segment) == pytest.approx(last - first, abs=2)
        size = min(len(segment), last - first)
        # but for the edges, where the resampler has other samples around it
        difference = segment[200 : size - 200] - whole[first : first + size][200:-200]
        assert np.abs(difference).max() < 0.01


def test_the_rate_is_that_of_the_caller(shared: AudioLoader) -> None:
    assert len(shared.load("mov", sample_rate=8_000)) == 5 * 8_000
    assert len(shared.load("mov")) == 5 * 16_000


@pytest.mark.parametrize(
    ("name", "segment", "code", "message"),
    [
        ("film.mp4", {}, ErrorCode.AUDIO_EMPTY, "is MP4 without an audio track"),
        ("cut.mp4", {}, ErrorCode.AUDIO_UNDECODABLE, "is damaged or cut short (MP4"),
        ("webm", {"offset": 7.0}, ErrorCode.AUDIO_EMPTY, "ends at 5.0"),
        ("mp4", {"duration": 9.0}, ErrorCode.AUDIO_UNDECODABLE, "ends 5."),
    ],
)
def test_messages_are_those_of_a_record(
    shared: AudioLoader, name: str, segment: dict[str, float], code: ErrorCode, message: str
) -> None:
    with pytest.raises(AudioError) as caught:
        shared.read(name, offset=segment.get("offset", 0.0), duration=segment.get("duration"))
    assert caught.value.code is code
    assert caught.value.message.startswith(f"{name}: {message}")


def test_many_threads_at_once(shared: AudioLoader) -> None:
    names = [container for container, _ in FORMATS] * 4
    with ThreadPoolExecutor(8) as pool:
        clips = list(pool.map(shared.load, names))
    assert [round(len(clip) / 16_000) for clip in clips] == [5] * len(names)


def test_nothing_is_started_for_what_libsndfile_reads(folder: Path, own: AudioLoader) -> None:
    before = workers()
    encode(folder / "clip.flac", sweep(1, 16_000), "flac", "flac", rate=16_000)
    assert len(own.load("clip.flac")) == 16_000
    assert workers() == before


async def test_a_file_that_crashes_the_decoder_fails_alone(own: AudioLoader) -> None:
    before = workers()
    own.load("mp4")
    [worker] = workers() - before
    worker.suspend()
    reading = asyncio.create_task(asyncio.to_thread(own.load, "mp4"))
    await until(lambda: asked(own) == 2)
    worker.send_signal(signal.SIGSEGV)
    worker.resume()
    with pytest.raises(AudioError) as caught:
        await reading
    assert caught.value.code is ErrorCode.AUDIO_UNDECODABLE
    assert caught.value.message.startswith("mp4: crashed the decoder")
    clip = await asyncio.to_thread(own.load, "webm")
    assert len(clip) == pytest.approx(5 * 16_000, abs=200)


def test_a_process_that_is_forked_has_its_own(shared: AudioLoader) -> None:
    """PyTorch's data loaders fork."""
    shared.load("mp4")
    child = os.fork()
    if not child:
        os._exit(len(shared.load("webm")) // 16_000)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (4, 5)
