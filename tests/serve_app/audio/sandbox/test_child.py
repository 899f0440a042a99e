"""What a worker makes of a file: every format, every kind of damage, and the limits."""

from __future__ import annotations

import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from schemas.failures import ErrorCode
from schemas.settings import AudioSettings
from serve_app.audio import AudioError, AudioLoader
from serve_app.audio.sandbox import MediaDecoder
from serve_app.audio.sandbox.messages import REFUSALS
from tests.serve_app.audio.media_files import encode, film, silence
from tests.serve_app.audio.sandbox.workers import Refused
from tests.serve_app.audio.sounds import likeness, pcm_16, sweep, wav, write

pytestmark = pytest.mark.asyncio(loop_scope="module")


# --- formats ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("container", ["WAV", "FLAC", "MP3", "OGG"])
async def test_what_libsndfile_reads_is_the_same_as_without_a_worker(
    decoder: MediaDecoder, tmp_path: Path, container: str, rate: int
) -> None:
    path = write(tmp_path / "clip", sweep(6, rate, channels=2), rate, container)
    expected = AudioLoader(AudioSettings(roots=[str(tmp_path)])).load("clip")
    clip = (await decoder.decode(path)).clip
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
    clip = (
        await decoder.decode(encode(tmp_path / "clip", sweep(2, 48_000), container, codec))
    ).clip
    assert len(clip) / 16_000 == pytest.approx(2, abs=0.1)
    assert np.abs(clip).max() == pytest.approx(0.31, abs=0.03)
    assert likeness(clip, sweep(2)) > 0.99


async def test_vorbis_in_webm(decoder: MediaDecoder, tmp_path: Path) -> None:
    samples = sweep(2, 48_000, channels=2)  # all that FFmpeg's own encoder can do
    clip = (
        await decoder.decode(encode(tmp_path / "clip", samples, "webm", "vorbis", layout="stereo"))
    ).clip
    assert likeness(clip, sweep(2)) > 0.99


async def test_aac_behind_a_tag(decoder: MediaDecoder, tmp_path: Path) -> None:
    path = encode(tmp_path / "clip", sweep(2, 48_000), "adts", "aac")
    untagged = (await decoder.decode(path)).clip
    path.write_bytes(b"ID3\x04\0\0\0\0\0\x14" + bytes(20) + path.read_bytes())
    assert np.array_equal((await decoder.decode(path)).clip, untagged)


@pytest.mark.parametrize(
    ("container", "video", "codec"), [("mp4", "libx264", "aac"), ("webm", "libvpx", "libopus")]
)
async def test_of_a_film_the_sound(
    decoder: MediaDecoder, tmp_path: Path, container: str, video: str, codec: str
) -> None:
    path = encode(tmp_path / "film", sweep(2, 48_000), container, codec, video=video)
    assert likeness((await decoder.decode(path)).clip, sweep(2)) > 0.99


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
    path = encode(tmp_path / "clip", sweep(2, 48_000), container, codec, options=options)
    assert likeness((await decoder.decode(path)).clip, sweep(2)) > 0.99


@pytest.mark.parametrize(("codec", "layout", "channels"), [("aac", "7.1", 8), ("alac", "5.1", 6)])
async def test_channels_are_averaged(
    decoder: MediaDecoder, tmp_path: Path, codec: str, layout: str, channels: int
) -> None:
    samples = sweep(1, 48_000, channels)
    samples[:, 0] *= -1
    clip = (
        await decoder.decode(encode(tmp_path / "clip", samples, "mp4", codec, layout=layout))
    ).clip
    expected = sweep(1) * np.float32((channels - 2) / channels)
    assert likeness(clip, expected) > 0.99
    assert np.linalg.norm(clip) == pytest.approx(np.linalg.norm(expected), rel=0.05)


@pytest.mark.parametrize(("container", "codec"), [("mov", "pcm_s16le"), ("matroska", "pcm_f32le")])
async def test_no_sample_is_lost_or_changed(
    decoder: MediaDecoder, tmp_path: Path, container: str, codec: str
) -> None:
    path = encode(tmp_path / "clip", sweep(9.5, 16_000), container, codec, rate=16_000)
    clip = (await decoder.decode(path)).clip
    assert len(clip) == 9.5 * 16_000
    assert np.abs(clip - sweep(9.5, 16_000)).max() <= 2**-15


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
    assert error.message == "talk.mp4 is MP4 of ac3; convert it to FLAC or PCM WAV"


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
    path = encode(tmp_path / "clip", sweep(2, 48_000), container, codec, options=options)
    whole = path.read_bytes()
    for share in (0.3, 0.6, 0.95):
        path.write_bytes(whole[: int(share * len(whole))])
        error = await refused(ErrorCode.AUDIO_UNDECODABLE, path)
        assert "damaged or cut short" in error.message


async def test_lies_about_length_and_sample_rate(decoder: MediaDecoder, tmp_path: Path) -> None:
    path = encode(tmp_path / "clip", sweep(2, 48_000), "mp4", "aac")
    honest = (await decoder.decode(path)).clip
    data = bytearray(path.read_bytes())
    for box, at in ((b"mvhd", 20), (b"mdhd", 20), (b"tkhd", 24)):
        struct.pack_into(">I", data, data.index(box) + at, 0x7FFF_FFFF)  # durations
    struct.pack_into(">I", data, data.index(b"mp4a") + 28, 8_000 << 16)
    path.write_bytes(data)
    assert np.array_equal((await decoder.decode(path)).clip, honest)


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
            clip = (await decoder.decode(path)).clip
        except AudioError as error:
            outcomes[error.code] += 1
        else:
            assert 160 <= len(clip) <= 20 * 16_000
            outcomes["decoded"] += 1
    assert set(outcomes) <= {"decoded", *REFUSALS} - {ErrorCode.AUDIO_IO}
    assert outcomes[ErrorCode.AUDIO_UNDECODABLE] > 10


# --- too much of it --------------------------------------------------------------------------


async def test_hours_in_a_small_file(refused: Refused, tmp_path: Path) -> None:
    flac = silence(tmp_path / "flac", 2 * 3_600, 4_000)
    assert flac.stat().st_size < 1 << 20
    message = "the file is longer than the limit of 20 s; split it"
    assert (await refused(ErrorCode.AUDIO_TOO_LONG, flac)).message == message
    quiet = np.zeros(100 * 8_000, np.float32)
    opus = write(tmp_path / "opus", quiet, 8_000, "OGG", "OPUS")
    assert (await refused(ErrorCode.AUDIO_TOO_LONG, opus)).message == message
    webm = encode(tmp_path / "webm", quiet, "webm", "libopus", rate=8_000)
    assert (await refused(ErrorCode.AUDIO_TOO_LONG, webm)).message == message


async def test_exactly_as_long_as_allowed(decoder: MediaDecoder, tmp_path: Path) -> None:
    for rate in (8_000, 16_000, 44_100):
        path = write(tmp_path / "clip", sweep(20, rate), rate)
        assert len((await decoder.decode(path)).clip) == 20 * 16_000


async def test_out_of_memory(refused: Refused, tmp_path: Path, good: Path) -> None:
    """A limit on memory that is too low; and the one that a decoder sets by itself."""
    longest = silence(tmp_path / "longest", 600)
    settings = AudioSettings(roots=["/"], max_seconds=600)
    async with MediaDecoder(settings, workers=1, memory_bytes=32 << 20) as poor:
        error = await refused(ErrorCode.AUDIO_UNDECODABLE, longest, by=poor)
        assert "crashed the decoder" in error.message
        assert len((await poor.decode(good)).clip) == 16_000
    async with MediaDecoder(settings, workers=1) as usual:
        assert len((await usual.decode(longest)).clip) == 600 * 16_000
