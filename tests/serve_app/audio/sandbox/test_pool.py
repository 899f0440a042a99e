"""The pool: what it takes, how requests share its workers, and that it keeps nothing."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

import numpy as np
import psutil
import pytest

from schemas.failures import ErrorCode
from schemas.settings import AudioSettings
from serve_app.audio import AudioError
from serve_app.audio.clip import Recording
from serve_app.audio.sandbox import MediaDecoder
from serve_app.audio.sandbox.messages import Decoded
from serve_app.audio.sandbox.process import Worker
from tests.serve_app.audio.sandbox.workers import (
    LIMITS,
    Refused,
    begun,
    process,
    processes,
    until,
)
from tests.serve_app.audio.sounds import sweep, write

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_unnamed_file(decoder: MediaDecoder, good: Path) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(good.read_bytes())
        file.flush()
        end = file.tell()
        found = await asyncio.gather(*(decoder.decode(file.fileno()) for _ in range(4)))
        assert file.tell() == end
    assert all(np.array_equal(each.clip, found[0].clip) for each in found)
    assert len(found[0].clip) == 16_000


async def test_what_is_no_file(refused: Refused, tmp_path: Path) -> None:
    await refused(ErrorCode.AUDIO_UNREADABLE, tmp_path)
    os.mkfifo(tmp_path / "fifo")
    await refused(ErrorCode.AUDIO_UNREADABLE, tmp_path / "fifo")


async def test_too_many_bytes(refused: Refused, tmp_path: Path, good: Path) -> None:
    settings = AudioSettings(roots=["/"], max_bytes=good.stat().st_size - 1)
    error = await refused(ErrorCode.AUDIO_TOO_LARGE, good, by=MediaDecoder(settings))
    assert error.message.startswith("the file has 32044 bytes, 32043 are allowed;")


async def test_names_in_messages_are_one_short_line(decoder: MediaDecoder, tmp_path: Path) -> None:
    with pytest.raises(AudioError) as caught:
        await decoder.decode(tmp_path / "absent", name="a\nb\x1b" + "c" * 1_000)
    assert caught.value.code is ErrorCode.AUDIO_MISSING
    assert caught.value.message.startswith("a?b?ccc")
    assert len(caught.value.message) < 300


async def test_many_requests_share_few_workers(decoder: MediaDecoder, tmp_path: Path) -> None:
    seconds = [1 + number / 10 for number in range(12)]
    paths = [write(tmp_path / str(length), sweep(length)) for length in seconds]
    (tmp_path / "bad").write_bytes(b"no audio")
    before = processes(decoder)
    found = await asyncio.gather(
        *(decoder.decode(path) for path in [*paths, tmp_path / "bad"]), return_exceptions=True
    )
    assert isinstance(found.pop(), AudioError)
    for length, recording in zip(seconds, found, strict=True):
        assert isinstance(recording, Recording)
        assert np.abs(recording.clip - sweep(length)).max() <= 2**-15
    assert processes(decoder) == before
    assert len(before) == 2


async def test_a_worker_is_replaced_after_its_time(good: Path) -> None:
    async with MediaDecoder(LIMITS, workers=1, max_requests=2) as decoder:
        seen = []
        for _ in range(5):
            seen.append(process(decoder).pid)
            await decoder.decode(good)
    assert seen[0] == seen[1] != seen[2] == seen[3] != seen[4]


async def test_a_refusal_costs_no_worker(
    decoder: MediaDecoder, refused: Refused, tmp_path: Path
) -> None:
    before = processes(decoder)
    (tmp_path / "upload").write_bytes(b"no audio")
    for _ in range(4):
        await refused(ErrorCode.AUDIO_UNDECODABLE, tmp_path / "upload")
    assert processes(decoder) == before


async def test_a_cancelled_request_ends_its_worker(alone: MediaDecoder, good: Path) -> None:
    first = process(alone)
    first.suspend()
    decoding = await begun(alone.decode(good))
    waiting = await begun(alone.decode(good))
    decoding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await decoding
    assert len((await waiting).clip) == 16_000
    await until(lambda: not first.is_running())


async def test_a_waiting_request_can_be_cancelled(alone: MediaDecoder, good: Path) -> None:
    first = process(alone)
    first.suspend()
    decoding = await begun(alone.decode(good))
    waiting = await begun(alone.decode(good))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    first.resume()
    assert len((await decoding).clip) == 16_000
    assert process(alone) == first


async def test_nothing_is_left_after_close(good: Path) -> None:
    descriptors = set(os.listdir("/proc/self/fd"))
    decoder = MediaDecoder(LIMITS, workers=2)
    await decoder.start()
    pids = [process.pid for process in processes(decoder)]
    for worker in processes(decoder):
        worker.suspend()
    requests = [await begun(decoder.decode(good)) for _ in range(4)]
    await decoder.close()
    for error in await asyncio.gather(*requests, decoder.decode(good), return_exceptions=True):
        assert isinstance(error, AudioError)
        assert error.code is ErrorCode.AUDIO_IO
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert processes(decoder) == []
    assert set(os.listdir("/proc/self/fd")) <= descriptors
    await decoder.close()


async def test_no_descriptor_is_left_by_a_request(decoder: MediaDecoder, good: Path) -> None:
    descriptors = os.listdir("/proc/self/fd")
    for source in (good, good.parent, good.parent / "absent", good):
        try:
            await decoder.decode(source)
        except AudioError:
            assert source != good
    # the thread that copied the clip lets go of the memory a moment after it gave the result
    await until(lambda: os.listdir("/proc/self/fd") == descriptors)


@pytest.mark.parametrize(
    ("samples", "value"), [(10**12, 0.0), (20 * 16_000 + 17, 0.0), (10, np.nan), (10, 1.5)]
)
async def test_a_worker_that_lies_about_the_clip(
    decoder: MediaDecoder,
    refused: Refused,
    good: Path,
    monkeypatch: pytest.MonkeyPatch,
    samples: int,
    value: float,
) -> None:
    async def ask(_: object, __: object, descriptors: list[int], ___: float) -> Decoded:
        os.pwrite(descriptors[1], np.full(10, value, np.float32).tobytes(), 0)
        return Decoded(samples)

    monkeypatch.setattr(Worker, "ask", ask)
    error = await refused(ErrorCode.AUDIO_UNDECODABLE, good)
    assert "crashed the decoder" in error.message
