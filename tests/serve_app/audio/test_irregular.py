"""Files that libsndfile reads in part, and FFmpeg to the end: joined ones, and odd MP3."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from schemas.failures import ErrorCode
from schemas.settings import AudioSettings
from serve_app.audio import AudioError, AudioLoader
from tests.serve_app.audio.conftest import Refused
from tests.serve_app.audio.sounds import Samples, likeness, sweep, write

JOINED = [
    ("MP3", "MPEG_LAYER_III"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
]


@pytest.mark.parametrize(("codec", "other"), [("Vorbis", "Opus"), ("Opus", "Vorbis")])
def test_ogg_files_of_two_codecs_joined_are_named(
    refused: Refused, root: Path, codec: str, other: str
) -> None:
    """FFmpeg converts only the first: to convert them is no advice."""
    one = write(root / "one", sweep(2), container="OGG", codec=codec.upper()).read_bytes()
    two = write(root / "two", sweep(2), container="OGG", codec=other.upper()).read_bytes()
    for joined_file in (one + two, one + two[:-500]):
        (root / "joined").write_bytes(joined_file)
        error = refused(ErrorCode.AUDIO_UNSUPPORTED, "joined")
        assert f"joined ({codec}, then {other}); give each as a file" in error.message


@pytest.mark.parametrize(("container", "codec"), JOINED)
class TestFilesJoinedIntoOne:
    def test_are_read_to_the_end(
        self, loader: AudioLoader, root: Path, container: str, codec: str
    ) -> None:
        one, two = joined(root, container, codec)
        clip = loader.load("joined")
        assert len(clip) / 16_000 == pytest.approx(5.0, abs=0.2)
        assert likeness(clip[:32_000], one) > 0.9
        assert likeness(clip[-48_000:], two) > 0.8

    def test_have_the_segments_of_one(
        self, loader: AudioLoader, root: Path, container: str, codec: str
    ) -> None:
        joined(root, container, codec)
        whole = loader.load("joined")
        for start, seconds in ((0.5, 1.0), (1.5, 1.5), (3.0, 1.5)):
            first, last = round(start * 16_000), round((start + seconds) * 16_000)
            segment = loader.load("joined", offset=start, duration=seconds)
            assert len(segment) == pytest.approx(seconds * 16_000, abs=2)
            assert likeness(segment, whole[first:last]) > 0.99

    def test_of_different_kinds_are_refused(
        self, refused: Refused, root: Path, container: str, codec: str
    ) -> None:
        one = write(root / "one", sweep(2), container=container, codec=codec)
        two = write(root / "two", sweep(2, 24_000, 2), 24_000, container, codec)
        (root / "joined").write_bytes(one.read_bytes() + two.read_bytes())
        refused(ErrorCode.AUDIO_UNSUPPORTED, "joined")

    def test_within_the_limits(self, root: Path, container: str, codec: str) -> None:
        joined(root, container, codec)
        few = AudioLoader(AudioSettings(roots=[str(root)], max_seconds=4))
        with pytest.raises(AudioError) as caught:
            few.load("joined")
        assert caught.value.code is ErrorCode.AUDIO_TOO_LONG
        assert len(few.load("joined", offset=2.5, duration=2.0)) == 32_000

    def test_are_not_made_up_of_tags(
        self, loader: AudioLoader, root: Path, container: str, codec: str
    ) -> None:
        one = write(root / "one", sweep(2), container=container, codec=codec).read_bytes()
        (root / "tagged").write_bytes(one + b"TAG" + bytes(125))  # what follows may be a tag
        assert np.array_equal(loader.load("tagged"), loader.load("one"))


def joined(root: Path, container: str, codec: str) -> tuple[Samples, Samples]:
    """Write two files into one, "joined"; what each is when it is read alone."""
    loader = AudioLoader(AudioSettings(roots=[str(root)]))
    data, clips = b"", []
    for number, seconds in enumerate((2, 3)):
        samples = sweep(seconds)[:: -1 if number else 1]
        data += write(root / "part", samples, container=container, codec=codec).read_bytes()
        clips.append(loader.load("part"))
    (root / "joined").write_bytes(data)
    return clips[0], clips[1]


class TestMp3:
    samples = sweep(3)

    @pytest.fixture(params=["CONSTANT", "VARIABLE"])
    def mp3(self, root: Path, request: pytest.FixtureRequest) -> bytes:
        options = {"bitrate_mode": request.param, "compression_level": 0.5}
        return write(root / "whole", self.samples, container="MP3", **options).read_bytes()

    @pytest.mark.parametrize(
        "ahead", [bytes(5_000), np.random.default_rng(3).bytes(5_000)], ids=["zeros", "noise"]
    )
    def test_bytes_ahead_of_the_first_frame_are_stepped_over(
        self, loader: AudioLoader, root: Path, mp3: bytes, ahead: bytes
    ) -> None:
        (root / "clip").write_bytes(ahead + mp3)
        assert likeness(loader.load("clip"), self.samples) > 0.9
        segment = loader.load("clip", offset=1.0, duration=1.0)
        assert len(segment) == 16_000
        assert likeness(segment, self.samples[16_000:32_000]) > 0.9

    def test_cut_in_front(self, loader: AudioLoader, root: Path, mp3: bytes) -> None:
        (root / "clip").write_bytes(mp3[len(mp3) // 3 :])
        clip = loader.load("clip")
        assert 1.0 < len(clip) / 16_000 < 2.9
        assert likeness(clip, self.samples) > 0.7

    def test_a_tag_between_two(self, loader: AudioLoader, root: Path, mp3: bytes) -> None:
        (root / "clip").write_bytes(mp3 + b"ID3\x04\0\0\0\0\0\x05hello" + mp3)
        assert len(loader.load("clip")) / 16_000 == pytest.approx(6, abs=0.2)

    def test_bytes_ahead_and_no_end(self, refused: Refused, root: Path, mp3: bytes) -> None:
        (root / "clip").write_bytes(bytes(500) + mp3[: len(mp3) // 2])
        refused(ErrorCode.AUDIO_UNDECODABLE, "clip")
