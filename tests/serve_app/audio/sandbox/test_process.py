"""Worker processes: how they die, what they are started with, and what they import."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from schemas.failures import ErrorCode
from serve_app.audio import AudioError
from serve_app.audio.sandbox import MediaDecoder
from tests.serve_app.audio.sandbox.workers import LIMITS, begun, process, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    ("number", "cause", "code"),
    [
        # by the kernel, for want of memory that others have taken
        (signal.SIGKILL, "Killed", ErrorCode.AUDIO_IO),
        (signal.SIGSEGV, "Segmentation fault", ErrorCode.AUDIO_UNDECODABLE),
        (signal.SIGXCPU, "CPU", ErrorCode.AUDIO_UNDECODABLE),
    ],
)
async def test_a_worker_that_crashes(
    alone: MediaDecoder,
    good: Path,
    caplog: pytest.LogCaptureFixture,
    number: signal.Signals,
    cause: str,
    code: ErrorCode,
) -> None:
    caplog.set_level(logging.WARNING, logger="serve_app.audio.sandbox")
    first = process(alone)
    first.suspend()
    decoding = await begun(alone.decode(good, name="private.wav"))
    first.send_signal(number)
    with contextlib.suppress(psutil.Error):
        first.resume()
    with pytest.raises(AudioError) as caught:
        await decoding
    assert caught.value.code is code
    reason = (
        "could not be decoded just now" if code is ErrorCode.AUDIO_IO else "crashed the decoder"
    )
    assert f"private.wav {reason}" in caught.value.message
    assert cause in caplog.text
    assert "private" not in caplog.text
    assert good.name not in caplog.text
    assert len((await alone.decode(good)).clip) == 16_000
    assert process(alone) != first
    await until(lambda: not first.is_running())


async def test_a_worker_that_hangs(good: Path) -> None:
    async with MediaDecoder(LIMITS, workers=1, timeout_s=1) as decoder:
        first = process(decoder)
        first.suspend()
        with pytest.raises(AudioError) as caught:
            await decoder.decode(good)
        assert caught.value.code is ErrorCode.AUDIO_UNDECODABLE
        assert "more than 1 s" in caught.value.message
        assert len((await decoder.decode(good)).clip) == 16_000
        await until(lambda: not first.is_running())


async def test_a_worker_that_dies_between_requests(alone: MediaDecoder, good: Path) -> None:
    first = process(alone)
    first.kill()
    await until(lambda: first.status() == psutil.STATUS_ZOMBIE)
    assert len((await alone.decode(good)).clip) == 16_000


@pytest.mark.parametrize("program", ["/nowhere/python", "/bin/false"])
async def test_a_worker_that_does_not_start(
    good: Path, monkeypatch: pytest.MonkeyPatch, program: str, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", program)
    decoder = MediaDecoder(LIMITS, workers=1)
    for _ in range(2):
        with pytest.raises(AudioError) as caught:
            await decoder.decode(good)
        assert caught.value.code is ErrorCode.AUDIO_IO
        assert caught.value.message == "the file could not be decoded just now; try again"
    assert {record.levelno for record in caplog.records} == {logging.ERROR}
    await decoder.close()


async def test_workers_end_with_the_parent(tmp_path: Path) -> None:
    code = """
import asyncio, os, signal
from schemas.settings import AudioSettings
from serve_app.audio.sandbox import MediaDecoder
async def main():
    decoder = MediaDecoder(AudioSettings(roots=["/"]), workers=2)
    await decoder.start()
    print(*(worker._process.pid for worker in decoder._workers), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    parent = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    )
    pids = [int(pid) for pid in parent.stdout.split()]
    assert len(pids) == 2
    await until(lambda: not any(alive(pid) for pid in pids))


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_a_worker_has_only_what_it_needs(monkeypatch: pytest.MonkeyPatch, good: Path) -> None:
    monkeypatch.setenv("KAFKA_PASSWORD", "secret")
    async with MediaDecoder(LIMITS, workers=1) as decoder:
        worker = process(decoder)
        assert "KAFKA_PASSWORD" not in worker.environ()
        assert worker.num_threads() == 1
        for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE, resource.RLIMIT_NPROC):
            assert worker.rlimit(limit) == (0, 0)
        assert worker.rlimit(resource.RLIMIT_NOFILE) == (16, 16)
        assert worker.rlimit(resource.RLIMIT_AS)[1] < 1 << 30
        await decoder.decode(good)
        assert worker.rlimit(resource.RLIMIT_CPU)[0] < 100


async def test_what_is_imported() -> None:
    def modules(statement: str) -> set[str]:
        code = f"import sys; {statement}; print(*sys.modules)"
        command = [sys.executable, "-c", code]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        return set(output.split())

    heavy = {"torch", "ray", "nemo", "kafka"}
    assert not modules("import serve_app.audio.media") & heavy
    parent = modules("from serve_app.audio.sandbox import MediaDecoder")
    assert "serve_app.audio.sandbox.pool" in parent
    assert not parent & {*heavy, "av", "serve_app.audio.sandbox.child"}
    child = modules("import serve_app.audio.sandbox.child")
    assert "av" in child
    assert not child & {*heavy, "asyncio", "serve_app.audio.sandbox.pool"}
