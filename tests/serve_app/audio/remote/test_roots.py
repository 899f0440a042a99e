"""Audio below URLs of `audio.roots`, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from schemas.failures import ErrorCode
from schemas.settings import AudioSettings
from serve_app.audio import AudioError, AudioLoader
from serve_app.audio.remote.addresses import is_public
from tests.serve_app.audio.conftest import Refused
from tests.serve_app.audio.media_files import encode
from tests.serve_app.audio.remote.server import StoreServer
from tests.serve_app.audio.sounds import sweep, write

pytestmark = pytest.mark.timeout(60)
Sound = Callable[..., bytes]


def test_objects_of_a_bucket(
    s3: StoreServer, bucket: AudioLoader, sound: Sound, refused: Refused
) -> None:
    flac = sound(1, container="FLAC")
    names = ["a.flac", "with space.flac", "ü/100%.flac", "what?#.flac"]
    s3.objects = {f"/calls/2026/{name}": flac for name in names}
    for name in names:
        assert len(bucket.load(f"s3://calls/2026/{name}")) == 16_000
        assert len(bucket.load(name)) == 16_000  # relative: below the root
    refused(ErrorCode.AUDIO_MISSING, "s3://calls/2026/absent.flac", by=bucket)
    refused(ErrorCode.AUDIO_MISSING, "absent.flac", by=bucket)
    refused(ErrorCode.AUDIO_MISSING, "s3://calls/2026/a//b.flac", by=bucket)


def test_large_objects_come_in_parts_of_one_version(
    s3: StoreServer, bucket: AudioLoader, sound: Sound, refused: Refused
) -> None:
    path, url = "/calls/2026/long.wav", "s3://calls/2026/long.wav"
    s3.objects[path] = sound(330)
    assert len(bucket.load(url)) == 330 * 16_000
    assert [each.range for each in s3.requests(path)] == [
        "bytes=0-1048575",
        "bytes=1048576-9437183",
        f"bytes=9437184-{len(s3.objects[path]) - 1}",
    ]
    s3.objects[path] = bytes(40 << 20)
    s3.asked.clear()
    assert "40" in refused(ErrorCode.AUDIO_TOO_LARGE, url, by=bucket).message
    assert len(s3.asked) == 1


def test_what_only_ffmpeg_reads(s3: StoreServer, bucket: AudioLoader, tmp_path: Path) -> None:
    media = encode(tmp_path / "media", sweep(1), "mp4", "aac", rate=16_000)
    s3.objects["/calls/2026/a.m4a"] = media.read_bytes()
    assert len(bucket.load("s3://calls/2026/a.m4a")) == pytest.approx(16_000, abs=2_000)


ESCAPES = [
    "s3://other/2026/a.wav",
    "s3://calls/2025/a.wav",
    "s3://calls/20261/a.wav",
    "s3://calls/2026",
    "s3://calls/2026/",
    "s3://calls/2026/../2025/a.wav",
    "s3://calls/2026/%2e%2e/2025/a.wav",
    "s3://calls/2026/%252E./2025/a.wav",
    "s3://calls/2026/x%2f..%2f..%2f2025/a.wav",
    "s3://calls/2026/..\\2025\\a.wav",
    "s3://user@calls/2026/a.wav",
    "gs://calls/2026/a.wav",
    "https://calls/2026/a.wav",
    "../2025/a.wav",
    "/2026/a.wav",
    "file:///calls/2026/a.wav",
]


@pytest.mark.parametrize("name", ESCAPES)
def test_nothing_outside_a_bucket_is_asked_for(
    name: str, s3: StoreServer, bucket: AudioLoader
) -> None:
    with pytest.raises(AudioError) as caught:
        bucket.load(name)
    assert caught.value.code is ErrorCode.AUDIO_OUTSIDE_ROOTS
    assert s3.asked == []


def test_files_of_a_web_server(
    web: StoreServer, site: AudioLoader, sound: Sound, refused: Refused
) -> None:
    root = f"https://localhost:{web.port}/calls"
    web.objects = {"/calls/a b.flac": sound(1, container="FLAC"), "/calls/long.wav": sound(330)}
    assert len(site.load(f"{root}/a%20b.flac")) == 16_000
    assert len(site.load(f"{root.replace('https', 'HTTPS')}/a b.flac?signature=x")) == 16_000
    assert web.asked[-1].path == "/calls/a%20b.flac?signature=x"
    assert len(site.load("a b.flac")) == 16_000
    assert len(site.load(f"{root}/long.wav")) == 330 * 16_000
    web.knows_ranges = False
    assert len(site.load(f"{root}/long.wav")) == 330 * 16_000
    web.objects["/calls/big"] = bytes(31 << 20)
    refused(ErrorCode.AUDIO_TOO_LARGE, f"{root}/big", by=site)
    refused(ErrorCode.AUDIO_MISSING, f"{root}/absent", by=site)


@pytest.mark.parametrize(
    "name",
    [
        "ROOT/../secret.wav",
        "ROOT/%2e%2e/secret.wav",
        "ROOT/%252e%252e/secret.wav",
        "ROOT/x%2f..%2f..%2fsecret.wav",
        "ROOT/..;/secret.wav",
        "ROOT/%5c..%5csecret.wav",
        "ROOT/a%00.wav",
        "ROOTS/a.wav",
        "https://localhost/calls/a.wav",
        "https://user:word@localhost:PORT/calls/a.wav",
        "https://127.0.0.1:PORT/calls/a.wav",
        "https://localhost:PORT@127.0.0.1:PORT/calls/a.wav",
        "http://localhost:PORT/calls/a.wav",
        "https://169.254.169.254/latest/meta-data",
        "ROOT/a.wav#b",
    ],
)
def test_nothing_outside_a_web_address_is_asked_for(
    name: str, web: StoreServer, site: AudioLoader
) -> None:
    url = name.replace("ROOT", f"https://localhost:{web.port}/calls")
    with pytest.raises(AudioError) as caught:
        site.load(url.replace("PORT", str(web.port)))
    assert caught.value.code is ErrorCode.AUDIO_OUTSIDE_ROOTS
    assert "word" not in str(caught.value)
    assert web.asked == []


def test_redirects_stay_below_the_root(
    web: StoreServer, site: AudioLoader, sound: Sound, refused: Refused
) -> None:
    root = f"https://localhost:{web.port}/calls"
    web.objects = {"/calls/a.wav": sound(1), "/secret.wav": sound(1)}
    web.faults["/calls/moved.wav"] = ["-> /calls/a.wav"]
    assert len(site.load(f"{root}/moved.wav")) == 16_000
    for to in (
        "/secret.wav",
        "../secret.wav",
        f"https://127.0.0.1:{web.port}/calls/a.wav",
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
    ):
        web.faults["/calls/moved.wav"] = [f"-> {to}"]
        web.asked.clear()
        refused(ErrorCode.AUDIO_OUTSIDE_ROOTS, f"{root}/moved.wav", by=site)
        assert len(web.asked) == 1
    web.faults["/calls/moved.wav"] = ["-> /calls/moved.wav"] * 9
    refused(ErrorCode.AUDIO_OUTSIDE_ROOTS, f"{root}/moved.wav", by=site)


def test_private_addresses_need_leave(web: StoreServer, refused: Refused) -> None:
    root = f"https://localhost:{web.port}/calls"
    loader = AudioLoader(AudioSettings(roots=[root]))
    error = refused(ErrorCode.AUDIO_OUTSIDE_ROOTS, f"{root}/a.wav", by=loader)
    assert "allow_private_addresses" in error.message
    assert web.asked == []


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.20.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("2002:7f00:1::", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_folders_and_urls_are_searched_in_order(
    s3: StoreServer, tmp_path: Path, sound: Sound
) -> None:
    first, last = tmp_path / "first", tmp_path / "last"
    for folder, names in ((first, ["a"]), (last, ["a", "b", "c"])):
        folder.mkdir()
        for name in names:
            write(folder / name, sweep(3))
    s3.objects = {"/calls/a": sound(2), "/calls/b": sound(2)}
    loader = AudioLoader(AudioSettings(roots=[str(first), "s3://calls", str(last)]))
    assert [len(loader.load(name)) // 16_000 for name in ("a", "b", "./b", "c")] == [3, 2, 2, 3]
    assert len(s3.requests("/calls/a")) == 0
    assert np.array_equal(loader.load(str(last / "a")), loader.load("a"))
