"""Kinds of records and audio that look odd and are good: each must be transcribed."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from schemas.manifest import MAX_EXTRA_DEPTH
from serve_app.audio.clip import Clip
from tests.scenarios import audio_files as files
from tests.scenarios.bad_kinds import Content, Kind, Site, audio_kind, record


def _deep(site: Site) -> bytes:
    depth = MAX_EXTRA_DEPTH
    return b'{"audio_filepath": "speech.wav", "note": %s}' % (b"[" * depth + b"]" * depth)


RECORDS: Mapping[str, Callable[[Site], bytes]] = {
    "no_id": lambda site: record(audio_filepath="speech.wav"),
    "nulls": lambda site: record(audio_filepath="speech.wav", id=None, offset=None, duration=None),
    # twice the same id: each record is its own
    "duplicate_id": lambda site: record(audio_filepath="speech.wav", id="twin"),
    "duplicate_id_again": lambda site: record(audio_filepath="speech.wav", id="twin"),
    "duplicate_keys": lambda site: b'{"audio_filepath": "nowhere", "audio_filepath": "speech.wav"}',
    "id_of_512_characters": lambda site: record(audio_filepath="speech.wav", id="x" * 512),
    "id_unicode": lambda site: record(audio_filepath="speech.wav", id="протокол-№7-録音-🎙"),
    "id_raw_unicode": lambda site: '{"audio_filepath": "speech.wav", "id": "протокол"}'.encode(),
    "id_looks_like_a_path": lambda site: record(audio_filepath="speech.wav", id="../../etc/passwd"),
    "whitespace_around": lambda site: b" \n\t" + record(audio_filepath="speech.wav") + b"\r\n",
    "escaped_slashes": lambda site: b'{"audio_filepath": "odd \\u0026 names\\/speech.wav"}',
    "unknown_domain": lambda site: record(audio_filepath="speech.wav", domain="astrology"),
    "unknown_language": lambda site: record(audio_filepath="speech.wav", lang="tlh"),
    "empty_reference": lambda site: record(audio_filepath="speech.wav", text=""),
    "long_reference": lambda site: record(audio_filepath="speech.wav", text="hello world " * 2000),
    "extra_keys": lambda site: record(
        audio_filepath="speech.wav", speaker={"age": 30, "tags": ["a", None, 1.5]}, **{"": True}
    ),
    "extra_keys_like_ours": lambda site: record(
        audio_filepath="speech.wav", pred_text=5, wer="bad", words=7, timings=None, extra=[1]
    ),
    "extra_big_number": lambda site: record(audio_filepath="speech.wav", number=10**300),
    "extra_300_kb": lambda site: record(audio_filepath="speech.wav", note="x" * 300_000),
    "extra_deep": _deep,
    "byte_order_mark": lambda site: b"\xef\xbb\xbf" + record(audio_filepath="speech.wav"),
    "id_number": lambda site: record(audio_filepath="speech.wav", id=7),
    "times_as_text": lambda site: record(audio_filepath="speech.wav", offset="0", duration="2.5"),
    "one_tag_in_a_list": lambda site: record(audio_filepath="speech.wav", lang=["en"]),
    "integer_times": lambda site: record(audio_filepath="speech.wav", offset=0, duration=2),
    "first_channel": lambda site: record(audio_filepath="speech.wav", channel=0),
    "each_channel": lambda site: record(audio_filepath="speech.wav", channel="each"),
    "segment": lambda site: record(audio_filepath="speech.wav", offset=0.3, duration=1.1),
    "duration_rounded_up": lambda site: record(
        audio_filepath="speech.wav", duration=len(site.speech) / files.RATE + 0.05
    ),
    "absolute_path": lambda site: record(audio_filepath=str(site.root / "speech.wav")),
    "file_url": lambda site: record(
        audio_filepath=f"file://{site.root}/odd%20%26%20names/speech.wav"
    ),
    "dot_dot_inside": lambda site: record(audio_filepath="odd & names/../speech.wav"),
    "double_slash": lambda site: record(audio_filepath="odd & names//./speech.wav"),
    "link_inside": lambda site: _link_inside(site),
    "name_with_percent": lambda site: _copy(site, "100%20.wav"),
    "name_unicode": lambda site: _copy(site, "протокол 録音.wav"),
    "name_like_an_option": lambda site: _copy(site, "--help"),
    "name_of_another_format": lambda site: _copy(site, "speech.png"),
}


def _copy(site: Site, name: str) -> bytes:
    (site.root / name).write_bytes(files.encode(site.speech))
    return record(audio_filepath=name)


def _link_inside(site: Site) -> bytes:
    (site.root / "alias.wav").symlink_to("odd & names/speech.wav")
    return record(audio_filepath="alias.wav")


def _encoded(container: str, codec: str | None = None) -> Content:
    return lambda speech: files.encode(speech, container, codec)


def _channels(count: int) -> Content:
    return lambda speech: files.encode(np.stack([speech] * count, axis=1))


def _at_rate(rate: int) -> Content:
    """`speech` resampled the plain way, which is good enough to be odd."""

    def make(speech: Clip) -> bytes:
        times = np.arange(int(len(speech) * rate / files.RATE)) * files.RATE / rate
        return files.encode(np.interp(times, np.arange(len(speech)), speech), rate=rate)

    return make


def _silence(seconds: float) -> Content:
    return lambda speech: files.encode(np.zeros(int(seconds * files.RATE), np.float32))


def _with_notes(speech: Clip) -> bytes:
    """A WAV file with chunks before and after its samples."""
    notes = files.chunk(b"LIST", b"INFOISFT" + struct.pack("<I", 6) + b"chorus")
    samples = files.chunk(b"data", files.pcm16(speech))
    return files.riff(notes + files.wav_format() + notes + samples + notes)


AUDIO: Mapping[str, Content] = {
    "wav_8_bit": _encoded("WAV", "PCM_U8"),
    "wav_24_bit": _encoded("WAV", "PCM_24"),
    "wav_32_bit": _encoded("WAV", "PCM_32"),
    "wav_float": _encoded("WAV", "FLOAT"),
    "wav_double": _encoded("WAV", "DOUBLE"),
    "wav_mu_law": _encoded("WAV", "ULAW"),
    "wav_a_law": _encoded("WAV", "ALAW"),
    "wav_extensible": _encoded("WAVEX"),
    "wav_rf64": _encoded("RF64"),
    "flac": _encoded("FLAC"),
    "flac_of_unknown_length": lambda speech: files.flac_of_length(files.encode(speech, "FLAC"), 0),
    "two_flacs_in_one": lambda speech: files.encode(speech, "FLAC") * 2,
    "mp3": _encoded("MP3"),
    "mp3_behind_zeros": lambda speech: bytes(5000) + files.encode(speech, "MP3"),
    "two_mp3s_in_one": lambda speech: files.encode(speech, "MP3") * 2,
    "two_opus_files_in_one": lambda speech: files.encode(speech, "OGG", "OPUS") * 2,
    "vorbis": _encoded("OGG", "VORBIS"),
    "opus": _encoded("OGG", "OPUS"),
    "stereo": _channels(2),
    "stereo_of_opposite_phase": lambda speech: files.encode(np.stack([speech, -speech], axis=1)),
    "8_channels": _channels(8),
    "4_khz": _at_rate(4000),
    "8_khz": _at_rate(8000),
    "44_khz": _at_rate(44_100),
    "48_khz": _at_rate(48_000),
    "192_khz": _at_rate(192_000),
    "wav_of_unknown_length": lambda speech: files.wav(files.pcm16(speech), size=0xFFFFFFFF),
    "wav_of_a_recorder_that_was_killed": lambda speech: files.wav(files.pcm16(speech), size=0),
    "wav_with_notes": _with_notes,
    "silence": _silence(3.0),
    "silence_of_a_minute": _silence(60.0),
    "20_ms": lambda speech: files.encode(speech[8000:8320]),
    "100_ms": lambda speech: files.encode(speech[8000:9600]),
    "over_full_scale": lambda speech: files.wav_floats(speech * 4),
    "faint": lambda speech: files.wav_floats(speech * 1e-6),
    "constant": lambda speech: files.encode(np.full(files.RATE, 0.3)),
    "square_wave": lambda speech: files.encode(np.sign(np.sin(np.arange(32_000) * 0.2))),
    "white_noise": lambda speech: files.encode(
        np.random.default_rng(5).uniform(-1, 1, 2 * files.RATE)
    ),
    "one_click": lambda speech: files.encode(np.eye(1, files.RATE, 8000)[0]),
}


def good_kinds() -> list[Kind]:
    """Every odd kind of good record."""
    return list(_kinds())


def _kinds() -> Iterator[Kind]:
    for name, make in RECORDS.items():
        yield Kind(name, make, None)
    for name, content in AUDIO.items():
        yield Kind(name, audio_kind(name, content), None)
