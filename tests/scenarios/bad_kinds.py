"""Kinds of bad records and audio: how each is made, and the error code that it must get.

To add a kind, add a line to one of the tables. What only looks odd is in `good_kinds`.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from schemas.failures import ErrorCode
from schemas.manifest import MAX_EXTRA_DEPTH
from serve_app.audio.clip import Clip
from tests.scenarios import audio_files as files

#: Seconds of audio that the scenario's settings allow.
MAX_SECONDS = 60
#: Bytes of a message that the scenario's topics take.
MAX_MESSAGE_BYTES = 8 << 20


class Site(NamedTuple):
    """Where kinds make their files.

    Attributes:
        root: one of `audio.roots`.
        outside: a folder beside it that is none.
        speech: a few seconds of speech at `files.RATE`.
    """

    root: Path
    outside: Path
    speech: Clip


class NotHereError(Exception):
    """This kind cannot be made on this machine; the message says why."""


class Kind(NamedTuple):
    """One kind of record.

    Attributes:
        name: unique among all kinds, and the name of its file.
        value: makes the message's value, and the files that it speaks of.
        code: what it must be refused with; None where it must be transcribed.
    """

    name: str
    value: Callable[[Site], bytes | None]
    code: ErrorCode | None


def record(**keys: object) -> bytes:
    """A manifest record with these keys."""
    return json.dumps(keys).encode()


# -- what is no record --------------------------------------------------------------------------

_PATH = b'"audio_filepath": "speech.wav"'


def _nested(depth: int, opening: bytes, closing: bytes) -> bytes:
    return b"{%s, %s}" % (_PATH, b'"note": ' + opening * depth + b"1" + closing * depth)


NOT_JSON: Mapping[str, bytes | None] = {
    "tombstone": None,
    "empty_value": b"",
    "blank_value": b" \n\t ",
    "plain_text": b"please transcribe speech.wav",
    "path_alone": b"speech.wav",
    "csv_line": b"speech.wav,2.5,hello world",
    "xml": b"<record><audio_filepath>speech.wav</audio_filepath></record>",
    "yaml": b"audio_filepath: speech.wav",
    "python_dict": b"{'audio_filepath': 'speech.wav'}",
    "avro_like": b"\0\0\0\0\x07\x14speech.wav",
    "gzip": files.GZIP,
    "random_bytes": np.random.default_rng(7).bytes(300),
    "json_cut_short": b'{"audio_filepath": "spee',
    "json_array": b"[{%s}]" % _PATH,
    "json_string": b'"speech.wav"',
    "json_number": b"42",
    "json_null": b"null",
    "json_two_objects": b"{%s}{%s}" % (_PATH, _PATH),
    "json_lines": b"{%s}\n{%s}\n" % (_PATH, _PATH),
    "json_in_json": json.dumps('{"audio_filepath": "speech.wav"}').encode(),
    "trailing_comma": b"{%s,}" % _PATH,
    "comment": b"{%s} // the first" % _PATH,
    "byte_order_mark_at_the_end": b"{%s}\xef\xbb\xbf" % _PATH,
    "utf_16": "{}".encode("utf-16"),
    "latin_1": b'{"audio_filepath": "caf\xe9.wav"}',
    "overlong_utf_8": b'{"audio_filepath": "..\xc0\xafspeech.wav"}',
    "lone_surrogate": b'{"audio_filepath": "speech.wav", "id": "\\ud800"}',
    "lone_surrogate_in_extra_key": b'{"audio_filepath": "speech.wav", "note": "a\\udc00b"}',
    "raw_control_character": b'{%s, "note": "a\x01b"}' % _PATH,
    "nan_duration": b'{%s, "duration": NaN}' % _PATH,
    "infinite_offset": b'{%s, "offset": Infinity}' % _PATH,
    "number_out_of_range": b'{%s, "duration": 1e999}' % _PATH,
    "number_of_many_digits": b'{%s, "duration": %s}' % (_PATH, b"9" * 5000),
    "deep_array": b"[" * 100_000,
    "deep_in_extra_key": _nested(100_000, b"[", b"]"),
    # decodes, but Python cannot pickle it on its way to the Router
    "deep_enough_to_break_pickle": _nested(700, b'{"a":', b"}"),
    "just_too_deep": _nested(MAX_EXTRA_DEPTH + 1, b"[", b"]"),
}

# -- records with a wrong key -------------------------------------------------------------------

WRONG_KEYS: Mapping[str, bytes] = {
    "no_keys": b"{}",
    "no_audio_filepath": record(id="a", text="hello"),
    "misspelt_audio_filepath": record(audio_file_path="speech.wav"),
    "path_null": record(audio_filepath=None),
    "path_null_again": b'{%s, "audio_filepath": 7}' % _PATH,  # of equal keys the last counts
    "path_number": record(audio_filepath=7),
    "path_list": record(audio_filepath=["speech.wav"]),
    "path_object": record(audio_filepath={"path": "speech.wav"}),
    "path_empty": record(audio_filepath=""),
    "path_huge": record(audio_filepath="a/" * 2500),
    "path_with_nul": record(audio_filepath="speech.wav\0.txt"),
    "path_with_newline": record(audio_filepath="speech\n.wav"),
    "id_fraction": record(audio_filepath="speech.wav", id=7.5),
    "id_bool": record(audio_filepath="speech.wav", id=True),
    "id_list": record(audio_filepath="speech.wav", id=["a"]),
    "id_empty": record(audio_filepath="speech.wav", id=""),
    "id_huge": record(audio_filepath="speech.wav", id="x" * 513),
    "id_of_a_megabyte": record(audio_filepath="speech.wav", id="x" * (1 << 20)),
    "id_with_control_character": record(audio_filepath="speech.wav", id="a\x1b[2Jb"),
    "id_with_nul": record(audio_filepath="speech.wav", id="a\0b"),
    "offset_text": record(audio_filepath="speech.wav", offset="1,5"),
    "offset_negative": record(audio_filepath="speech.wav", offset=-1),
    "offset_bool": record(audio_filepath="speech.wav", offset=True),
    "offset_of_years": record(audio_filepath="speech.wav", offset=1e8),
    "channel_left": record(audio_filepath="speech.wav", channel="left"),
    "channel_list": record(audio_filepath="speech.wav", channel=[0, 1]),
    "duration_zero": record(audio_filepath="speech.wav", duration=0),
    "duration_negative": record(audio_filepath="speech.wav", duration=-2.5),
    "duration_huge": record(audio_filepath="speech.wav", duration=1e300),
    "duration_text": record(audio_filepath="speech.wav", duration="two seconds"),
    "duration_list": record(audio_filepath="speech.wav", duration=[2.5]),
    "text_number": record(audio_filepath="speech.wav", text=7),
    "text_list": record(audio_filepath="speech.wav", text=["hello", "world"]),
    "lang_list": record(audio_filepath="speech.wav", lang=["en", "de"]),
    "domain_object": record(audio_filepath="speech.wav", domain={"name": "legal"}),
    "conditions_number": record(audio_filepath="speech.wav", conditions=3),
    "five_megabytes": record(audio_filepath=7, note="x" * (5 << 20)),
}

# -- paths that lead nowhere, or where they may not ---------------------------------------------


def _fifo(site: Site) -> str:
    os.mkfifo(site.root / "fifo.wav")
    return "fifo.wav"


def _socket(site: Site) -> str:
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(site.root / "socket.wav"))
    return "socket.wav"


def _device(site: Site) -> str:
    try:
        os.mknod(site.root / "zero.wav", stat.S_IFCHR | 0o644, os.makedev(1, 5))
    except PermissionError:
        raise NotHereError("making a device needs more rights") from None
    return "zero.wav"


def _no_permission(site: Site) -> str:
    if os.geteuid() == 0:
        raise NotHereError("root may read every file")
    path = site.root / "locked.wav"
    path.write_bytes(files.encode(site.speech))
    path.chmod(0)
    return path.name


def _link(target: str) -> Callable[[Site], str]:
    """A symbolic link in the root to `target`, where {outside} and {link} are filled in."""

    def make(site: Site) -> str:
        link = site.root / f"link-{zlib.crc32(target.encode()):x}.wav"
        link.symlink_to(target.format(outside=site.outside, link=link.name))
        return link.name

    return make


def _link_to_folder_outside(site: Site) -> str:
    (site.root / "elsewhere").symlink_to(site.outside)
    return "elsewhere/secret.wav"


def _sparse(size: int) -> Callable[[Site], str]:
    """A WAV file of `size` bytes of silence that takes up a block of the disk."""

    def make(site: Site) -> str:
        path = site.root / f"sparse-{size}.wav"
        path.write_bytes(files.wav(b"", size=size - 44))
        os.truncate(path, size)
        return path.name

    return make


PATHS: Mapping[str, tuple[str | Callable[[Site], str], ErrorCode]] = {
    "missing": ("no-such-file.wav", ErrorCode.AUDIO_MISSING),
    "missing_folder": ("no/such/folder.wav", ErrorCode.AUDIO_MISSING),
    "missing_in_a_file": ("speech.wav/part.wav", ErrorCode.AUDIO_MISSING),
    "name_too_long": ("x" * 300 + ".wav", ErrorCode.AUDIO_MISSING),
    "home": ("~/speech.wav", ErrorCode.AUDIO_MISSING),
    "wildcard": ("*.wav", ErrorCode.AUDIO_MISSING),
    "shell": ("speech.wav; reboot", ErrorCode.AUDIO_MISSING),
    "pipe": ("cat speech.wav |", ErrorCode.AUDIO_MISSING),
    "data_url": ("data:audio/wav;base64,UklGRg==", ErrorCode.AUDIO_MISSING),
    "dangling_link": (_link("nowhere.wav"), ErrorCode.AUDIO_MISSING),
    "dot_dot": ("../outside/secret.wav", ErrorCode.AUDIO_OUTSIDE_ROOTS),
    "many_dot_dots": ("../" * 30 + "etc/hostname", ErrorCode.AUDIO_OUTSIDE_ROOTS),
    "absolute": (lambda site: str(site.outside / "secret.wav"), ErrorCode.AUDIO_OUTSIDE_ROOTS),
    "absolute_and_missing": ("/no/such/file.wav", ErrorCode.AUDIO_OUTSIDE_ROOTS),
    "absolute_by_dot_dot": (
        lambda site: f"{site.root}/../outside/secret.wav",
        ErrorCode.AUDIO_OUTSIDE_ROOTS,
    ),
    "root_as_prefix": (lambda site: f"{site.root}-not/x.wav", ErrorCode.AUDIO_OUTSIDE_ROOTS),
    "own_memory": ("/proc/self/mem", ErrorCode.AUDIO_OUTSIDE_ROOTS),
    "standard_input": ("/dev/stdin", ErrorCode.AUDIO_OUTSIDE_ROOTS),
    "endless_device": ("/dev/zero", ErrorCode.AUDIO_OUTSIDE_ROOTS),
    "link_out": (_link("{outside}/secret.wav"), ErrorCode.AUDIO_OUTSIDE_ROOTS),
    "link_out_relative": (_link("../outside/secret.wav"), ErrorCode.AUDIO_OUTSIDE_ROOTS),
    "link_to_endless_device": (_link("/dev/zero"), ErrorCode.AUDIO_OUTSIDE_ROOTS),
    "linked_folder_out": (_link_to_folder_outside, ErrorCode.AUDIO_OUTSIDE_ROOTS),
    "http_url": ("http://127.0.0.1:9/speech.wav", ErrorCode.AUDIO_OUTSIDE_ROOTS),
    "s3_url": ("s3://bucket/speech.wav", ErrorCode.AUDIO_OUTSIDE_ROOTS),
    "file_url_outside": (
        lambda site: f"file://{site.outside}/secret.wav",
        ErrorCode.AUDIO_OUTSIDE_ROOTS,
    ),
    "file_url_of_another_host": ("file://server/speech.wav", ErrorCode.AUDIO_OUTSIDE_ROOTS),
    "file_url_hidden_dot_dot": (
        lambda site: f"file://{site.root}/%2e%2e/outside/secret.wav",
        ErrorCode.AUDIO_OUTSIDE_ROOTS,
    ),
    "link_loop": (_link("{link}"), ErrorCode.AUDIO_UNREADABLE),
    "folder": (".", ErrorCode.AUDIO_UNREADABLE),
    "fifo": (_fifo, ErrorCode.AUDIO_UNREADABLE),
    "socket": (_socket, ErrorCode.AUDIO_UNREADABLE),
    "device": (_device, ErrorCode.AUDIO_UNREADABLE),
    "no_permission": (_no_permission, ErrorCode.AUDIO_UNREADABLE),
    "sparse_file_of_3_gb": (_sparse(3 << 30), ErrorCode.AUDIO_TOO_LARGE),
    "sparse_file_of_hours": (_sparse(900 << 20), ErrorCode.AUDIO_TOO_LONG),
}

# -- segments that are not there ----------------------------------------------------------------

SEGMENTS: Mapping[str, tuple[Mapping[str, float], ErrorCode]] = {
    "channel_that_is_not_there": ({"channel": 1}, ErrorCode.AUDIO_CHANNEL),
    "offset_beyond_the_end": ({"offset": 100}, ErrorCode.AUDIO_EMPTY),
    "offset_beyond_the_end_of_any_file": ({"offset": 86_400}, ErrorCode.AUDIO_EMPTY),
    "duration_of_a_millisecond": ({"duration": 0.001}, ErrorCode.AUDIO_EMPTY),
    "duration_beyond_the_end": ({"duration": 30}, ErrorCode.AUDIO_UNDECODABLE),
    "duration_of_a_day": ({"duration": 86_400}, ErrorCode.AUDIO_UNDECODABLE),
    "segment_beyond_the_end": ({"offset": 1, "duration": 30}, ErrorCode.AUDIO_UNDECODABLE),
}

# -- files that are no audio, or damaged, or too much -------------------------------------------

Content = Callable[[Clip], bytes]


def _damaged(container: str, codec: str | None = None) -> Content:
    """A file with 2 kB of noise in its middle."""

    def make(speech: Clip) -> bytes:
        data = files.encode(np.tile(speech, 3), container, codec)
        return files.patched(data, len(data) // 2, np.random.default_rng(1).bytes(2048))

    return make


def _with_sample(value: float, bits: int = 32) -> Content:
    """A float WAV file with `value` among its samples."""

    def make(speech: Clip) -> bytes:
        samples = speech.astype(np.float64)
        samples[len(samples) // 2] = value
        return files.wav_floats(samples, bits)

    return make


def _of(data: bytes) -> Content:
    return lambda speech: data


def _wav_of(**fmt: int) -> Content:
    """A WAV file whose format chunk says `fmt`."""
    return lambda speech: files.wav(files.pcm16(speech), fmt=files.wav_format(**fmt))


def _encoded(container: str, codec: str | None = None, share: float = 1.0) -> Content:
    """The first `share` of a file that libsndfile writes."""
    return lambda speech: files.part(files.encode(speech, container, codec), share)


def _ogg_without_page(number: int, codec: str) -> Content:
    def make(speech: Clip) -> bytes:
        pages = list(files.ogg_pages(files.encode(np.tile(speech, 3), "OGG", codec)))
        return b"".join(pages[:number] + pages[number + 1 :])

    return make


_ZEROS = np.zeros(0, np.float32)
_HOURS = 2 * 3600.0

AUDIO: Mapping[ErrorCode, Mapping[str, Content]] = {
    ErrorCode.AUDIO_UNDECODABLE: {
        "text_file": _of(b"hello world, this is no audio\n" * 50),
        "html_file": _of(b"<!DOCTYPE html><html><title>404 Not Found</title></html>"),
        "json_file": _of(b'{"error": "expired link"}'),
        "png_file": _of(files.PNG),
        "zip_file": _of(b"PK\x03\x04" + bytes(200)),
        "pdf_file": _of(b"%PDF-1.7\n" + bytes(200)),
        "elf_file": _of(b"\x7fELF\x02\x01\x01" + bytes(200)),
        "gzip_file": _of(files.GZIP),
        "zeros_file": _of(bytes(4096)),
        "noise_file": _of(np.random.default_rng(3).bytes(4096)),
        "one_byte": _of(b"R"),
        "mp4_of_nothing": _of(b"\0\0\0\x20ftypM4A " + bytes(300)),
        "webm_of_nothing": _of(b"\x1aE\xdf\xa3" + bytes(300)),
        "raw_pcm": lambda speech: bytes(2) + files.pcm16(speech),
        "wav_cut_short": _encoded("WAV", share=0.5),
        "flac_cut_short": _encoded("FLAC", share=0.5),
        "mp3_cut_short": _encoded("MP3", share=0.5),
        "vorbis_cut_short": _encoded("OGG", "VORBIS", share=0.5),
        "opus_cut_short": _encoded("OGG", "OPUS", share=0.5),
        "wav_without_chunks": _of(files.riff(b"")),
        "wav_without_format": lambda speech: files.riff(files.chunk(b"data", files.pcm16(speech))),
        "wav_without_data": _of(files.riff(files.wav_format())),
        "wav_format_cut_short": _of(files.riff(files.chunk(b"fmt ", bytes(8)))),
        "wav_format_behind_data": lambda speech: files.riff(
            files.chunk(b"data", files.pcm16(speech)) + files.wav_format()
        ),
        "wav_chunks_without_end": _of(files.riff(files.chunk(b"junk", b"") * 2000)),
        "wav_claims_more": lambda speech: files.wav(files.pcm16(speech), size=10_000_000),
        "wav_of_0_channels": _wav_of(channels=0, align=2),
        "wav_of_0_bits": _wav_of(bits=0, align=2),
        "wav_of_40_bits": _wav_of(bits=40),
        "wav_of_16_bit_floats": _wav_of(codec=3),
        "wav_of_65535_channels": _wav_of(channels=65_535),
        "wav_claims_half": lambda speech: files.wav(files.pcm16(speech), size=len(speech) // 2 * 2),
        "two_wavs_in_one": lambda speech: files.encode(speech) * 2,
        "wav_of_0_hz": _wav_of(rate=0),
        "wav_magic_alone": _of(b"RIFF"),
        "flac_magic_alone": _of(b"fLaC"),
        "flac_noise_behind_magic": _of(b"fLaC" + np.random.default_rng(4).bytes(4096)),
        "flac_of_0_hz": lambda speech: files.flac_of_0_hz(files.encode(speech, "FLAC")),
        "flac_claims_more": lambda speech: files.flac_of_length(
            files.encode(speech, "FLAC"), 2 * len(speech)
        ),
        "flac_damaged": _damaged("FLAC"),
        "mp3_damaged": _damaged("MP3"),
        "vorbis_damaged": _damaged("OGG", "VORBIS"),
        "opus_damaged": _damaged("OGG", "OPUS"),
        "mp3_tag_alone": _of(b"ID3\x04\0\0\0\0\0\x10" + bytes(16)),
        "mp3_header_alone": _of(b"\xff\xfb\x90\x64" + bytes(8)),
        "opus_header_alone": _of(files.ogg_with(b"OpusHead\x01\x01\0\0\x80\xbb\0\0\0\0\0")),
        "vorbis_header_alone": _of(files.ogg_with(b"\x01vorbis" + bytes(23))),
        "vorbis_without_its_codebooks": _ogg_without_page(1, "VORBIS"),
        "vorbis_without_a_page": _ogg_without_page(3, "VORBIS"),
        "opus_without_a_page": _ogg_without_page(4, "OPUS"),
        "opus_claims_more": lambda speech: files.opus_of_silence(1.2, claimed_seconds=50),
        "opus_of_no_samples": _of(files.opus_of_silence(0)),
        "float_nan": _with_sample(np.nan),
        "float_infinite": _with_sample(np.inf),
        "double_nan": _with_sample(np.nan, bits=64),
        "double_infinite": _with_sample(-np.inf, bits=64),
        "double_beyond_float": _with_sample(1e300, bits=64),
    },
    ErrorCode.AUDIO_UNSUPPORTED: {
        "wav_of_4_ghz": _wav_of(rate=2**32 - 1),
        "wav_ima_adpcm": _encoded("WAV", "IMA_ADPCM"),
        "wav_ms_adpcm": _encoded("WAV", "MS_ADPCM"),
        "wav_gsm": _encoded("WAV", "GSM610"),
        "wav_g721": _encoded("WAV", "G721_32"),
        "wav_nms_adpcm": _encoded("WAV", "NMS_ADPCM_16"),
        "wav_of_mp3": lambda speech: files.wav(
            files.encode(speech, "MP3"), fmt=files.wav_format(codec=0x55)
        ),
        "wav_unknown_codec": _wav_of(codec=0x7A21),
        "wav_big_endian": lambda speech: b"RIFX" + files.encode(speech)[4:],
        "aiff": _encoded("AIFF"),
        "au": _encoded("AU"),
        "caf": _encoded("CAF"),
        "wave64": _encoded("W64"),
        "amr": _of(b"#!AMR\n" + bytes(300)),
        "mpeg_layer_2": _of(b"\xff\xfd\x94\x04" + bytes(300)),
        "ogg_magic_alone": _of(b"OggS"),
        "ogg_speex": _of(files.ogg_with(b"Speex   1.2" + bytes(64))),
        "wav_of_1_hz": _wav_of(rate=1),
        "wav_of_2_khz": _wav_of(rate=2000),
        "wav_of_768_khz": _wav_of(rate=768_000),
        "wav_of_9_channels": _wav_of(channels=9),
        "wav_of_64_channels": _wav_of(channels=64),
        "float_of_another_scale": lambda speech: files.wav_floats(speech * 32768),
        "float_astronomic": _with_sample(3e38),
    },
    ErrorCode.AUDIO_EMPTY: {
        "empty_file": _of(b""),
        "aac_of_nothing": _of(b"\xff\xf1\x50\x80" + bytes(300)),
        "wav_of_no_samples": _of(files.encode(_ZEROS)),
        "flac_of_no_samples": _of(files.encode(_ZEROS, "FLAC")),
        "vorbis_of_no_samples": _of(files.encode(_ZEROS, "OGG", "VORBIS")),
        "wav_of_one_sample": lambda speech: files.encode(speech[:1]),
        "wav_of_5_ms": lambda speech: files.encode(speech[:80]),
    },
    ErrorCode.AUDIO_TOO_LONG: {
        "wav_too_long": lambda speech: files.encode(np.zeros(8000 * (MAX_SECONDS + 2)), rate=8000),
        "flac_of_hours": lambda speech: files.flac_of_silence(_HOURS),
        "flac_of_hours_of_unknown_length": (
            lambda speech: files.flac_of_length(files.flac_of_silence(_HOURS), 0)
        ),
        "opus_of_hours": lambda speech: files.opus_of_silence(_HOURS),
    },
}

# -- the table ----------------------------------------------------------------------------------


def bad_kinds() -> list[Kind]:
    """Every kind of bad record."""
    return list(_kinds())


def always(value: bytes | None) -> Callable[[Site], bytes | None]:
    """Makes nothing but the message's value."""
    return lambda site: value


def _kinds() -> Iterator[Kind]:
    for name, value in NOT_JSON.items():
        yield Kind(name, always(value), ErrorCode.RECORD_JSON)
    for name, wrong in WRONG_KEYS.items():
        yield Kind(name, always(wrong), ErrorCode.RECORD_SCHEMA)
    for name, (path, code) in PATHS.items():
        yield Kind(name, _at(path), code)
    for name, (segment, code) in SEGMENTS.items():
        yield Kind(name, always(record(audio_filepath="speech.wav", **segment)), code)
    for code, contents in AUDIO.items():
        for name, content in contents.items():
            yield Kind(name, audio_kind(name, content), code)


def _at(path: str | Callable[[Site], str]) -> Callable[[Site], bytes]:
    return lambda site: record(audio_filepath=path if isinstance(path, str) else path(site))


def audio_kind(name: str, content: Content, **keys: object) -> Callable[[Site], bytes]:
    """Writes `content` to a file of its own; returns the record of it, with `keys`."""

    def make(site: Site) -> bytes:
        path = site.root / f"{name}.wav"
        path.write_bytes(content(site.speech))
        return record(audio_filepath=path.name, **keys)

    return make
