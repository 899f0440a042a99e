"""Uploads that nobody vouches for: decoded in worker processes, which may die of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pytest
import pytest_asyncio
import soundfile

from schemas.failures import ErrorCode
from schemas.settings import AudioSettings
from serve_app.audio import AudioError, AudioLoader, media, untrusted
from serve_app.audio.untrusted import MediaDecoder
from serve_app.engines.base import Clip
from tests.serve_app.audio.sounds import Samples, pcm_16, sweep, wav, write

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITS = AudioSettings(roots=["/"], max_seconds=20)
Refused = Callable[..., Awaitable[AudioError]]


# --- files, made by FFmpeg -------------------------------------------------------------------


def encode(
    path: Path,
    samples: Samples,
    container: str,
    codec: str,
    *,
    rate: int = 48_000,
    layout: str = "mono",
    video: str | None = None,
    **options: str,
) -> Path:
    """`samples`, as `sweep` makes them, in a file of FFmpeg's; `options` are its muxer's."""
    with av.open(str(path), "w", format=container, options=options) as output:
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


# --- decoders --------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def decoder() -> AsyncIterator[MediaDecoder]:
    """For files that harm no worker."""
    async with MediaDecoder(LIMITS, workers=2) as decoder:
        yield decoder


@pytest_asyncio.fixture(loop_scope="module")
async def alone() -> AsyncIterator[MediaDecoder]:
    """For what harms its only worker."""
    async with MediaDecoder(LIMITS, workers=1) as decoder:
        yield decoder


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return write(tmp_path / "good.wav", sweep(1))


@pytest.fixture
def refused(decoder: MediaDecoder) -> Refused:
    """`await refused(code, path)`: decoding fails with `code`; returns the error."""

    async def check(
        code: ErrorCode, path: Path, by: MediaDecoder = decoder, name: str = "the file"
    ) -> AudioError:
        with pytest.raises(AudioError) as caught:
            await by.decode(path, name=name)
        assert caught.value.code is code, caught.value
        assert caught.value.message.startswith(f"{name} ")
        assert str(path.parent) not in caught.value.message
        return caught.value

    return check


def processes(of: MediaDecoder) -> list[psutil.Process]:
    """The worker processes of a decoder."""
    return [psutil.Process(worker._process.pid) for worker in of._workers if worker._process]


def process(of: MediaDecoder) -> psutil.Process:
    (only,) = processes(of)
    return only


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def begun(decoding: Awaitable[Clip]) -> asyncio.Task[Clip]:
    """A request that an idle worker has been given. The worker should be stopped."""
    task = asyncio.ensure_future(decoding)
    await asyncio.sleep(0)  # it runs until it waits for the answer
    assert isinstance(task, asyncio.Task)
    return task


def likeness(clip: Clip, other: Clip) -> float:
    """Correlation of two clips, -1 to 1, at the shift where it is highest."""
    size = len(clip) + len(other)
    product = np.fft.rfft(clip, size) * np.conj(np.fft.rfft(other, size))
    return float(np.fft.irfft(product, size).max() / np.linalg.norm(clip) / np.linalg.norm(other))


# --- formats ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("container", ["WAV", "FLAC", "MP3", "OGG"])
async def test_what_libsndfile_reads_is_the_same_as_without_a_worker(
    decoder: MediaDecoder, tmp_path: Path, container: str, rate: int
) -> None:
    path = write(tmp_path / "clip", sweep(6, rate, channels=2), rate, container)
    expected = AudioLoader(AudioSettings(roots=[str(tmp_path)])).load("clip")
    clip = await decoder.decode(path)
    assert np.array_equal(clip, expected)
    assert clip.dtype == np.float32
    assert clip.flags.writeable


FORMATS = [
    *(("mp4", "aac"), ("ipod", "aac"), ("adts", "aac"), ("mov", "aac"), ("mp4", "alac")),
    *(("webm", "libopus"), ("matroska", "libopus"), ("matroska", "libmp3lame")),
    *(("mp4", "libopus"), ("mov", "libmp3lame"), ("matroska", "pcm_s24le"), ("mov", "pcm_f32be")),
    *(("mov", "pcm_u8"), ("mov", "pcm_alaw"), ("mp4", "flac")),
]


@pytest.mark.parametrize(("container", "codec"), FORMATS)
async def test_what_ffmpeg_reads(
    decoder: MediaDecoder, tmp_path: Path, container: str, codec: str
) -> None:
    clip = await decoder.decode(encode(tmp_path / "clip", sweep(2, 48_000), container, codec))
    assert len(clip) / 16_000 == pytest.approx(2, abs=0.1)
    assert np.abs(clip).max() == pytest.approx(0.31, abs=0.03)
    assert likeness(clip, sweep(2)) > 0.99


async def test_vorbis_in_webm(decoder: MediaDecoder, tmp_path: Path) -> None:
    samples = sweep(2, 48_000, channels=2)  # all that FFmpeg's own encoder can do
    clip = await decoder.decode(
        encode(tmp_path / "clip", samples, "webm", "vorbis", layout="stereo")
    )
    assert likeness(clip, sweep(2)) > 0.99


async def test_aac_behind_a_tag(decoder: MediaDecoder, tmp_path: Path) -> None:
    path = encode(tmp_path / "clip", sweep(2, 48_000), "adts", "aac")
    untagged = await decoder.decode(path)
    path.write_bytes(b"ID3\x04\0\0\0\0\0\x14" + bytes(20) + path.read_bytes())
    assert np.array_equal(await decoder.decode(path), untagged)


@pytest.mark.parametrize(
    ("container", "video", "codec"), [("mp4", "libx264", "aac"), ("webm", "libvpx", "libopus")]
)
async def test_of_a_film_the_sound(
    decoder: MediaDecoder, tmp_path: Path, container: str, video: str, codec: str
) -> None:
    path = encode(tmp_path / "film", sweep(2, 48_000), container, codec, video=video)
    assert likeness(await decoder.decode(path), sweep(2)) > 0.99


@pytest.mark.parametrize(
    ("container", "codec", "options"),
    [
        ("webm", "libopus", {"live": "1"}),
        ("mp4", "aac", {"movflags": "frag_keyframe+empty_moov", "frag_duration": "500000"}),
        ("mp4", "aac", {"movflags": "faststart"}),
    ],
)
async def test_what_browsers_record(
    decoder: MediaDecoder, tmp_path: Path, container: str, codec: str, options: dict[str, str]
) -> None:
    """Written on the go: without a length, or in fragments."""
    path = encode(tmp_path / "clip", sweep(2, 48_000), container, codec, **options)
    assert likeness(await decoder.decode(path), sweep(2)) > 0.99


@pytest.mark.parametrize(("codec", "layout", "channels"), [("aac", "7.1", 8), ("alac", "5.1", 6)])
async def test_channels_are_averaged(
    decoder: MediaDecoder, tmp_path: Path, codec: str, layout: str, channels: int
) -> None:
    samples = sweep(1, 48_000, channels)
    samples[:, 0] *= -1
    clip = await decoder.decode(encode(tmp_path / "clip", samples, "mp4", codec, layout=layout))
    expected = sweep(1) * (channels - 2) / channels
    assert likeness(clip, expected) > 0.99
    assert np.linalg.norm(clip) == pytest.approx(np.linalg.norm(expected), rel=0.05)


@pytest.mark.parametrize(("container", "codec"), [("mov", "pcm_s16le"), ("matroska", "pcm_f32le")])
async def test_no_sample_is_lost_or_changed(
    decoder: MediaDecoder, tmp_path: Path, container: str, codec: str
) -> None:
    path = encode(tmp_path / "clip", sweep(9.5, 16_000), container, codec, rate=16_000)
    clip = await decoder.decode(path)
    assert len(clip) == 9.5 * 16_000
    assert np.abs(clip - sweep(9.5, 16_000)).max() <= 2**-15


async def test_an_unnamed_file(decoder: MediaDecoder, good: Path) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(good.read_bytes())
        file.flush()
        end = file.tell()
        clips = await asyncio.gather(*(decoder.decode(file.fileno()) for _ in range(4)))
        assert file.tell() == end
    assert all(np.array_equal(clip, clips[0]) for clip in clips)
    assert len(clips[0]) == 16_000


# --- refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", ErrorCode.AUDIO_EMPTY),
        (b"no audio at all", ErrorCode.AUDIO_UNDECODABLE),
        (np.random.default_rng(3).bytes(10_000), ErrorCode.AUDIO_UNDECODABLE),
        (b"\0\0\0\x18ftypisom" + bytes(1_000), ErrorCode.AUDIO_UNDECODABLE),
        (b"\x1aE\xdf\xa3" + bytes(1_000), ErrorCode.AUDIO_UNDECODABLE),
        (b"\xff\xf1" * 500, ErrorCode.AUDIO_UNDECODABLE),
        (b"FORM\0\0\0\0AIFF", ErrorCode.AUDIO_UNSUPPORTED),
        (b"#EXTM3U\nfile:///etc/passwd\n", ErrorCode.AUDIO_UNDECODABLE),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", ErrorCode.AUDIO_UNDECODABLE),
        (wav(pcm_16(sweep(1)), codec=0x11), ErrorCode.AUDIO_UNSUPPORTED),
        (wav(pcm_16(sweep(1)), data_size=1 << 20), ErrorCode.AUDIO_UNDECODABLE),
        (wav(b"", data_size=0), ErrorCode.AUDIO_EMPTY),
        (wav(pcm_16(sweep(1)), rate=4_000_000), ErrorCode.AUDIO_UNSUPPORTED),
    ],
)
async def test_what_is_no_audio(
    refused: Refused, tmp_path: Path, content: bytes, code: ErrorCode
) -> None:
    path = tmp_path / "upload"
    path.write_bytes(content)
    await refused(code, path)


async def test_a_film_without_sound(refused: Refused, tmp_path: Path) -> None:
    error = await refused(ErrorCode.AUDIO_EMPTY, film(tmp_path / "film"))
    assert error.message == "the file is MP4 without an audio track"


async def test_other_codecs(refused: Refused, tmp_path: Path) -> None:
    path = encode(tmp_path / "clip", sweep(1, 48_000), "mp4", "ac3")
    error = await refused(ErrorCode.AUDIO_UNSUPPORTED, path, name="talk.mp4")
    assert error.message == "talk.mp4 is MP4 of ac3; convert it to WAV or FLAC"


async def test_too_many_bytes(refused: Refused, tmp_path: Path, good: Path) -> None:
    settings = AudioSettings(roots=["/"], max_bytes=good.stat().st_size - 1)
    error = await refused(ErrorCode.AUDIO_TOO_LARGE, good, by=MediaDecoder(settings))
    assert error.message.startswith("the file has 32044 bytes, 32043 are allowed;")


@pytest.mark.parametrize("limit", [{"max_channels": 1}, {"max_sample_rate": 44_100}])
async def test_limits_on_the_audio(tmp_path: Path, limit: dict[str, int]) -> None:
    path = encode(tmp_path / "clip", sweep(1, 48_000, 2), "mp4", "aac", layout="stereo")
    limits = AudioSettings(roots=["/"], **limit)
    with path.open("rb") as file, pytest.raises(AudioError) as caught:
        media.decode_media(file.fileno(), sample_rate=16_000, limits=limits)
    assert caught.value.code is ErrorCode.AUDIO_UNSUPPORTED


@pytest.mark.parametrize(
    ("container", "codec", "options"),
    [
        ("mp4", "aac", {"movflags": "faststart"}),
        ("mp4", "aac", {}),
        ("mp4", "aac", {"movflags": "frag_keyframe+empty_moov", "frag_duration": "100000"}),
        ("webm", "libopus", {}),
        ("adts", "aac", {}),
    ],
)
async def test_a_file_that_is_cut_short(
    refused: Refused, tmp_path: Path, container: str, codec: str, options: dict[str, str]
) -> None:
    path = encode(tmp_path / "clip", sweep(2, 48_000), container, codec, **options)
    whole = path.read_bytes()
    for share in (0.3, 0.6, 0.95):
        path.write_bytes(whole[: int(share * len(whole))])
        error = await refused(ErrorCode.AUDIO_UNDECODABLE, path)
        assert "damaged or cut short" in error.message


async def test_lies_about_length_and_sample_rate(decoder: MediaDecoder, tmp_path: Path) -> None:
    path = encode(tmp_path / "clip", sweep(2, 48_000), "mp4", "aac")
    honest = await decoder.decode(path)
    data = bytearray(path.read_bytes())
    for box, at in ((b"mvhd", 20), (b"mdhd", 20), (b"tkhd", 24)):
        struct.pack_into(">I", data, data.index(box) + at, 0x7FFF_FFFF)  # durations
    struct.pack_into(">I", data, data.index(b"mp4a") + 28, 8_000 << 16)
    path.write_bytes(data)
    assert np.array_equal(await decoder.decode(path), honest)


@pytest.mark.parametrize("container", ["mp4", "webm"])
async def test_damage_of_any_kind_gives_audio_or_a_typed_error(
    decoder: MediaDecoder, tmp_path: Path, container: str
) -> None:
    random = np.random.default_rng(11)
    codec = {"mp4": "aac", "webm": "libopus"}[container]
    path = encode(tmp_path / "clip", sweep(1, 48_000), container, codec)
    whole = path.read_bytes()
    outcomes: Counter[object] = Counter()
    for _ in range(80):
        data = bytearray(whole)
        part = int(random.choice([64, 2_048, len(data)]))
        at = int(random.integers(0, part)) * (1 if random.random() < 0.5 else -1)
        data[at : at + int(random.integers(1, 16))] = random.bytes(8)
        path.write_bytes(data)
        try:
            clip = await decoder.decode(path)
        except AudioError as error:
            outcomes[error.code] += 1
        else:
            assert 160 <= len(clip) <= 20 * 16_000
            outcomes["decoded"] += 1
    assert set(outcomes) <= {"decoded", *untrusted._REFUSALS} - {ErrorCode.AUDIO_IO}
    assert outcomes[ErrorCode.AUDIO_UNDECODABLE] > 10


async def test_names_in_messages_are_one_short_line(decoder: MediaDecoder, tmp_path: Path) -> None:
    with pytest.raises(AudioError) as caught:
        await decoder.decode(tmp_path / "absent", name="a\nb\x1b" + "c" * 1_000)
    assert caught.value.code is ErrorCode.AUDIO_MISSING
    assert caught.value.message.startswith("a?b?ccc")
    assert len(caught.value.message) < 300


async def test_what_is_no_file(refused: Refused, tmp_path: Path) -> None:
    await refused(ErrorCode.AUDIO_UNREADABLE, tmp_path)
    os.mkfifo(tmp_path / "fifo")
    await refused(ErrorCode.AUDIO_UNREADABLE, tmp_path / "fifo")


# --- too much of it --------------------------------------------------------------------------


async def test_hours_in_a_small_file(refused: Refused, tmp_path: Path) -> None:
    flac = silence(tmp_path / "flac", 2 * 3_600, 4_000)
    assert flac.stat().st_size < 1 << 20
    message = "the file is longer than 20 s, which is the most; cut it"
    assert (await refused(ErrorCode.AUDIO_TOO_LONG, flac)).message == message
    quiet = np.zeros(100 * 8_000, np.float32)
    opus = write(tmp_path / "opus", quiet, 8_000, "OGG", "OPUS")
    assert (await refused(ErrorCode.AUDIO_TOO_LONG, opus)).message == message
    webm = encode(tmp_path / "webm", quiet, "webm", "libopus", rate=8_000)
    assert (await refused(ErrorCode.AUDIO_TOO_LONG, webm)).message == message


async def test_decoding_stops_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encode(tmp_path / "clip", sweep(30, 16_000), "mov", "pcm_s16le", rate=16_000)
    samples = 0
    to_mono = media._to_mono

    def count(frame: av.AudioFrame) -> Clip:
        nonlocal samples
        samples += frame.samples
        return to_mono(frame)

    monkeypatch.setattr(media, "_to_mono", count)
    with path.open("rb") as file, pytest.raises(AudioError) as caught:
        media.decode_media(file.fileno(), sample_rate=16_000, limits=LIMITS)
    assert caught.value.code is ErrorCode.AUDIO_TOO_LONG
    assert samples <= 20 * 16_000


@pytest.mark.parametrize(("container", "codec"), [("mp4", "aac"), ("webm", "libopus")])
async def test_packets_are_counted_not_the_file(tmp_path: Path, container: str, codec: str) -> None:
    """An index can name the same bytes many times."""
    path = encode(tmp_path / "clip", sweep(2, 48_000), container, codec)
    limits = AudioSettings(roots=["/"], max_bytes=5_000)
    with path.open("rb") as file, pytest.raises(AudioError) as caught:
        media.decode_media(file.fileno(), sample_rate=16_000, limits=limits)
    assert caught.value.code is ErrorCode.AUDIO_TOO_LARGE


async def test_exactly_as_long_as_allowed(decoder: MediaDecoder, tmp_path: Path) -> None:
    for rate in (8_000, 16_000, 44_100):
        path = write(tmp_path / "clip", sweep(20, rate), rate)
        assert len(await decoder.decode(path)) == 20 * 16_000


async def test_out_of_memory(refused: Refused, tmp_path: Path, good: Path) -> None:
    """A limit on memory that is too low; and the one that a decoder sets by itself."""
    longest = silence(tmp_path / "longest", 600)
    settings = AudioSettings(roots=["/"], max_seconds=600)
    async with MediaDecoder(settings, workers=1, memory_bytes=32 << 20) as poor:
        error = await refused(ErrorCode.AUDIO_UNDECODABLE, longest, by=poor)
        assert "crashed the decoder" in error.message
        assert len(await poor.decode(good)) == 16_000
    async with MediaDecoder(settings, workers=1) as usual:
        assert len(await usual.decode(longest)) == 600 * 16_000


# --- workers that die ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "cause"),
    [(signal.SIGKILL, "Killed"), (signal.SIGSEGV, "Segmentation fault"), (signal.SIGXCPU, "CPU")],
)
async def test_a_worker_that_crashes(
    alone: MediaDecoder,
    good: Path,
    caplog: pytest.LogCaptureFixture,
    number: signal.Signals,
    cause: str,
) -> None:
    first = process(alone)
    first.suspend()
    decoding = await begun(alone.decode(good, name="private.wav"))
    first.send_signal(number)
    with contextlib.suppress(psutil.Error):
        first.resume()
    with pytest.raises(AudioError) as caught:
        await decoding
    assert caught.value.code is ErrorCode.AUDIO_UNDECODABLE
    assert "private.wav crashed the decoder" in caught.value.message
    assert cause in caplog.text
    assert "private" not in caplog.text
    assert good.name not in caplog.text
    assert len(await alone.decode(good)) == 16_000
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
        assert len(await decoder.decode(good)) == 16_000
        await until(lambda: not first.is_running())


async def test_a_cancelled_request_ends_its_worker(alone: MediaDecoder, good: Path) -> None:
    first = process(alone)
    first.suspend()
    decoding = await begun(alone.decode(good))
    waiting = await begun(alone.decode(good))
    decoding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await decoding
    assert len(await waiting) == 16_000
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
    assert len(await decoding) == 16_000
    assert process(alone) == first


async def test_a_worker_that_dies_between_requests(alone: MediaDecoder, good: Path) -> None:
    first = process(alone)
    first.kill()
    await until(lambda: first.status() == psutil.STATUS_ZOMBIE)
    assert len(await alone.decode(good)) == 16_000


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


# --- the pool --------------------------------------------------------------------------------


async def test_many_requests_share_few_workers(decoder: MediaDecoder, tmp_path: Path) -> None:
    seconds = [1 + number / 10 for number in range(12)]
    paths = [write(tmp_path / str(length), sweep(length)) for length in seconds]
    (tmp_path / "bad").write_bytes(b"no audio")
    before = processes(decoder)
    clips = await asyncio.gather(
        *(decoder.decode(path) for path in [*paths, tmp_path / "bad"]), return_exceptions=True
    )
    assert isinstance(clips.pop(), AudioError)
    for length, clip in zip(seconds, clips, strict=True):
        assert isinstance(clip, np.ndarray)
        assert np.abs(clip - sweep(length)).max() <= 2**-15
    assert processes(decoder) == before
    assert len(before) == 2


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
    assert os.listdir("/proc/self/fd") == descriptors


async def test_workers_end_with_the_parent(tmp_path: Path) -> None:
    code = """
import asyncio, os, signal
from schemas.settings import AudioSettings
from serve_app.audio.untrusted import MediaDecoder
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


# --- what a worker has, and what it may say --------------------------------------------------


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
    code = "import sys, serve_app.audio.{}; print(*sys.modules)"

    def modules(name: str) -> set[str]:
        command = [sys.executable, "-c", code.format(name)]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        return set(output.split())

    assert not modules("media") & {"torch", "ray", "nemo", "kafka"}
    assert not modules("untrusted") & {"torch", "ray", "nemo", "kafka", "av"}


@pytest.mark.parametrize(
    "said",
    [
        b"no JSON",
        b'{"type": "_Decoded"}',
        b'{"type": "_Decoded", "samples": 0}',
        b'{"type": "_Decoded", "samples": 16000, ',
        b'{"type": "_Refused", "code": "router_died", "message": "x"}',
        b'{"type": "_Refused", "code": "audio_missing", "message": "x"}',
        b'{"type": "_Refused", "code": "audio_empty", "message": "%s"}' % (b"x" * 2_000),
        b'{"type": "_Broken", "where": "MemoryError at decode:7"}',
        b'{"type": "_Broken", "where": "a\\nforged line of the log"}',
    ],
)
async def test_a_worker_that_talks_nonsense(said: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(AudioError) as caught:
        untrusted._parse(said)
    assert caught.value.code is ErrorCode.AUDIO_UNDECODABLE
    assert "forged" not in caplog.text


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
    async def ask(_: object, descriptors: list[int], __: float) -> untrusted._Decoded:
        os.pwrite(descriptors[1], np.full(10, value, np.float32).tobytes(), 0)
        return untrusted._Decoded(samples)

    monkeypatch.setattr(untrusted._Worker, "ask", ask)
    error = await refused(ErrorCode.AUDIO_UNDECODABLE, good)
    assert "crashed the decoder" in error.message
