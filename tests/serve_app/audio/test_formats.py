"""Which files a decoder gets to see at all, and which of them are whole."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from schemas.failures import ErrorCode
from serve_app.audio import AudioLoader
from serve_app.audio.formats import is_allowed, read_header
from tests.serve_app.audio.conftest import Refused
from tests.serve_app.audio.sounds import (
    chunk,
    pcm_16,
    sweep,
    wav,
    with_flac_total,
    without_length,
    write,
)

PCM = ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"]
#: (container, codec, the least ratio of signal to error that it keeps, in dB)
KINDS = [
    *(("WAV", codec, 30) for codec in PCM),
    *(("WAVEX", codec, 30) for codec in PCM),
    *(("RF64", codec, 30) for codec in PCM),
    *(("FLAC", codec, 30) for codec in ("PCM_S8", "PCM_16", "PCM_24")),
    ("OGG", "VORBIS", 8),
    ("OGG", "OPUS", 8),
    ("MP3", "MPEG_LAYER_III", 8),
]


@pytest.mark.parametrize(("container", "codec", "decibels"), KINDS)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_supported_kind_comes_back(
    loader: AudioLoader, root: Path, container: str, codec: str, decibels: float, channels: int
) -> None:
    samples = sweep(2)
    file = samples if channels == 1 else np.stack([samples] * channels, axis=1)
    write(root / "clip", file, container=container, codec=codec)  # no help from the name
    clip = loader.load("clip")
    assert clip.dtype == np.float32
    assert clip.shape == samples.shape
    assert np.mean(samples**2) > 10 ** (decibels / 10) * np.mean((clip - samples) ** 2)


REFUSED = [
    ("WAV", "IMA_ADPCM"),
    ("WAV", "MS_ADPCM"),
    ("WAV", "GSM610"),
    ("WAV", "G721_32"),
    ("W64", "PCM_16"),
    ("W64", "IMA_ADPCM"),
    ("AIFF", "PCM_16"),
    ("AU", "PCM_16"),
    ("CAF", "PCM_16"),
    ("NIST", "PCM_16"),
    ("MP3", "MPEG_LAYER_II"),
]


@pytest.mark.parametrize(("container", "codec"), REFUSED)
def test_other_audio_is_refused_by_its_header_alone(
    refused: Refused, root: Path, container: str, codec: str
) -> None:
    if codec == "MPEG_LAYER_II":  # libsndfile cannot write it
        (root / "clip").write_bytes(bytes.fromhex("fff56404") + bytes(5_000))
    else:
        write(root / "clip", sweep(1), container=container, codec=codec)
    error = refused(ErrorCode.AUDIO_UNSUPPORTED, "clip")
    assert "convert it to" in error.message


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"RIFF\x10\0\0\0AVI LIST", "AVI"),
        (b"\x0bw" + bytes(500), "AC-3"),
        (b"FLV\x01" + bytes(500), "FLV"),
        (b"#!AMR\n" + bytes(500), "AMR"),
        (b"0&\xb2u" + bytes(500), "WMA"),
    ],
)
def test_formats_that_nothing_here_writes_are_named(
    refused: Refused, root: Path, data: bytes, name: str
) -> None:
    (root / "clip").write_bytes(data)
    error = refused(ErrorCode.AUDIO_UNSUPPORTED, "clip")
    assert error.message == f"clip: is {name}; convert it to FLAC or PCM WAV"


def test_what_libsndfile_makes_of_a_file_is_checked_too() -> None:
    assert is_allowed("WAV", "PCM_16")
    assert not is_allowed("WAV", "IMA_ADPCM")
    assert not is_allowed("W64", "PCM_16")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"not audio, but words\n" * 50, id="text"),
        pytest.param(b"<!DOCTYPE html><html>" * 50, id="html"),
        pytest.param(b'{"audio": "none"}', id="json"),
        pytest.param(b"\xff\xfeT\0e\0x\0t\0" * 50, id="utf-16"),
        pytest.param(bytes(5_000), id="zeros"),
        pytest.param(np.random.default_rng(3).bytes(5_000), id="noise"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(500), id="image"),
        pytest.param(b"RIFF", id="four bytes"),
        pytest.param(b"fLaC", id="flac magic only"),
        pytest.param(b"ID3\x04\0\0\0\0\0\x05hello", id="tag only"),
        pytest.param(b"ID3\x04\0\0\0\0\0\x05hello" + bytes(500), id="tag and zeros"),
    ],
)
def test_what_is_no_audio_is_undecodable(refused: Refused, root: Path, data: bytes) -> None:
    (root / "clip.wav").write_bytes(data)
    refused(ErrorCode.AUDIO_UNDECODABLE, "clip.wav")


def test_an_ogg_file_of_something_else_is_unsupported(refused: Refused, root: Path) -> None:
    write(root / "clip", sweep(1), container="OGG", codec="VORBIS")
    data = (root / "clip").read_bytes().replace(b"\x01vorbis", b"Speex  ", 1)
    (root / "clip").write_bytes(data)
    refused(ErrorCode.AUDIO_UNSUPPORTED, "clip")
    (root / "short").write_bytes(data[:20])
    refused(ErrorCode.AUDIO_UNSUPPORTED, "short")


def test_an_empty_file(refused: Refused, root: Path) -> None:
    (root / "clip.wav").touch()
    refused(ErrorCode.AUDIO_EMPTY, "clip.wav")


def test_id3_tags_ahead_of_the_audio_are_skipped(loader: AudioLoader, root: Path) -> None:
    samples = sweep(1)
    for container in ("MP3", "FLAC"):
        write(root / "plain", samples, container=container)
        plain = (root / "plain").read_bytes()
        (root / "tagged").write_bytes(b"ID3\x04\0\0\0\0\x02\x05" + bytes(2 * 128 + 5) + plain)
        assert np.array_equal(loader.load("tagged"), loader.load("plain"))


class TestWav:
    samples = sweep(1)
    data = pcm_16(samples)

    def load(self, loader: AudioLoader, root: Path, data: bytes) -> None:
        (root / "clip.wav").write_bytes(data)
        clip = loader.load("clip.wav")
        assert np.abs(clip - self.samples).max() < 1e-4

    def test_chunks_ahead_of_the_audio_are_skipped(self, loader: AudioLoader, root: Path) -> None:
        junk = chunk(b"JUNK", bytes(100_000)) + chunk(b"LIST", b"odd") + b"\0"
        self.load(loader, root, wav(self.data, before=junk))

    @pytest.mark.parametrize("size", [0xFFFF_FFFF, 0x7FFF_FFFF, 0x7FFF_F000])
    def test_streamed_to_a_pipe(self, loader: AudioLoader, root: Path, size: int) -> None:
        self.load(loader, root, wav(self.data, data_size=size))

    def test_rubbish_behind_the_audio(self, loader: AudioLoader, root: Path) -> None:
        self.load(loader, root, wav(self.data) + b"rubbish" * 100)

    def test_a_few_bytes_short(self, loader: AudioLoader, root: Path) -> None:
        (root / "clip.wav").write_bytes(wav(self.data)[:-3])
        assert len(loader.load("clip.wav")) == len(self.samples) - 2

    def test_an_extensible_format_hides_no_codec(self, refused: Refused, root: Path) -> None:
        ima = struct.pack("<HHIH14x", 22, 16, 4, 0x0011)
        (root / "clip.wav").write_bytes(wav(self.data, codec=0xFFFE, extension=ima))
        assert "IMA ADPCM" in refused(ErrorCode.AUDIO_UNSUPPORTED, "clip.wav").message

    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(wav(data)[:36], id="no data"),
            pytest.param(chunk(b"RIFF", b"WAVE" + chunk(b"data", data)), id="no format"),
            pytest.param(
                chunk(b"RIFF", b"WAVE" + chunk(b"fmt ", b"\1\0\1\0") + chunk(b"data", data)),
                id="short format",
            ),
            pytest.param(wav(data, channels=0), id="0 channels"),
            pytest.param(wav(data, rate=0), id="0 Hz"),
            pytest.param(wav(data, bits=0), id="0 bits"),
            pytest.param(wav(data, before=chunk(b"junk", b"") * 5_000), id="5,000 chunks"),
        ],
    )
    def test_a_broken_header(self, refused: Refused, root: Path, data: bytes) -> None:
        (root / "clip.wav").write_bytes(data)
        refused(ErrorCode.AUDIO_UNDECODABLE, "clip.wav")

    @pytest.mark.parametrize("samples", [data, pcm_16(sweep(1.5))])
    def test_whose_recorder_was_killed(
        self, loader: AudioLoader, root: Path, samples: bytes
    ) -> None:
        unfinished = wav(samples, data_size=0)
        (root / "clip.wav").write_bytes(unfinished[:4] + bytes(4) + unfinished[8:])
        assert len(loader.load("clip.wav")) == len(samples) // 2
        segment = loader.load("clip.wav", offset=0.25, duration=0.5)
        assert np.abs(segment - sweep(1.5)[4_000:12_000]).max() < 1e-4

    def test_of_float_samples_whose_recorder_was_killed(
        self, loader: AudioLoader, root: Path
    ) -> None:
        unfinished = wav(self.samples.astype("<f4").tobytes(), codec=3, bits=32, data_size=0)
        self.load(loader, root, unfinished)

    def test_empty_but_for_a_chunk(self, refused: Refused, root: Path) -> None:
        (root / "clip.wav").write_bytes(wav(b"") + chunk(b"LIST", bytes(10_000)))
        refused(ErrorCode.AUDIO_EMPTY, "clip.wav")

    def test_chunks_and_padding_behind_the_audio(self, loader: AudioLoader, root: Path) -> None:
        self.load(loader, root, wav(self.data) + chunk(b"LIST", bytes(50_000)))
        self.load(loader, root, wav(self.data) + bytes(50_000))

    def test_more_samples_than_the_header_says(self, refused: Refused, root: Path) -> None:
        (root / "joined.wav").write_bytes(wav(self.data) + wav(self.data))
        assert "joined" in refused(ErrorCode.AUDIO_UNDECODABLE, "joined.wav").message
        (root / "stale.wav").write_bytes(wav(self.data, data_size=len(self.data) // 2))
        refused(ErrorCode.AUDIO_UNDECODABLE, "stale.wav")

    @pytest.mark.parametrize("data", [b"", b"\0"])
    def test_no_samples(self, refused: Refused, root: Path, data: bytes) -> None:
        (root / "clip.wav").write_bytes(wav(data))
        refused(ErrorCode.AUDIO_EMPTY, "clip.wav")


TRUNCATED = [
    ("WAV", "PCM_16"),
    ("WAVEX", "FLOAT"),
    ("RF64", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
]


@pytest.mark.parametrize(("container", "codec"), TRUNCATED)
def test_a_truncated_file_is_refused_but_what_is_left_can_be_read(
    loader: AudioLoader, refused: Refused, root: Path, container: str, codec: str
) -> None:
    write(root / "whole", sweep(6), container=container, codec=codec)
    whole = (root / "whole").read_bytes()
    (root / "cut").write_bytes(whole[: round(0.7 * len(whole))])
    refused(ErrorCode.AUDIO_UNDECODABLE, "cut")
    refused(ErrorCode.AUDIO_UNDECODABLE, "cut", offset=1.0, duration=5.0)
    segment = loader.load("cut", offset=0.5, duration=2.0)
    assert np.array_equal(segment, loader.load("whole", offset=0.5, duration=2.0))


@pytest.mark.parametrize(("container", "codec"), TRUNCATED[3:])
@pytest.mark.parametrize("filler", ["zeros", "noise"])
def test_an_overwritten_end_is_refused(
    refused: Refused, root: Path, container: str, codec: str, filler: str
) -> None:
    write(root / "clip", sweep(6), container=container, codec=codec)
    data = (root / "clip").read_bytes()
    middle = len(data) // 2
    rest = len(data) - middle
    end = bytes(rest) if filler == "zeros" else np.random.default_rng(5).bytes(rest)
    (root / "clip").write_bytes(data[:middle] + end)
    refused(ErrorCode.AUDIO_UNDECODABLE, "clip")


def test_a_flac_file_streamed_to_a_pipe(loader: AudioLoader, refused: Refused, root: Path) -> None:
    samples = sweep(6)
    write(root / "known.flac", samples, container="FLAC")
    known = (root / "known.flac").read_bytes()
    (root / "clip.flac").write_bytes(without_length(known))
    assert soundfile.info(root / "known.flac").frames == len(samples)
    assert np.array_equal(loader.load("clip.flac"), loader.load("known.flac"))
    assert np.array_equal(
        loader.load("clip.flac", offset=2.5, duration=1.5),
        loader.load("known.flac", offset=2.5, duration=1.5),
    )
    refused(ErrorCode.AUDIO_EMPTY, "clip.flac", offset=7.0)


def test_a_flac_file_that_promises_more_than_it_holds(refused: Refused, root: Path) -> None:
    write(root / "clip.flac", sweep(3), container="FLAC")
    data = (root / "clip.flac").read_bytes()
    (root / "more.flac").write_bytes(with_flac_total(data, 10 * 16_000))
    refused(ErrorCode.AUDIO_UNDECODABLE, "more.flac")
    (root / "hours.flac").write_bytes(with_flac_total(data, 2**36 - 1))
    refused(ErrorCode.AUDIO_TOO_LONG, "hours.flac")


def test_reading_the_header_leaves_the_position_alone(root: Path) -> None:
    for container in ("WAV", "FLAC", "OGG", "MP3"):
        write(root / "clip", sweep(1), container=container)
        fd = os.open(root / "clip", os.O_RDONLY)
        try:
            assert read_header(fd).container.upper() == container
            assert os.lseek(fd, 0, os.SEEK_CUR) == 0
        finally:
            os.close(fd)
