"""Audio files as bytes: valid ones, damaged ones, and ones whose headers are false."""

from __future__ import annotations

import functools
import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

Samples = npt.NDArray[np.floating[Any]]

RATE = 16_000
_PCM, _FLOAT = 1, 3


def encode(
    clip: Samples, container: str = "WAV", codec: str | None = None, rate: int = RATE
) -> bytes:
    """`clip`, shape [samples] or [samples, channels], in a format and subtype of libsndfile."""
    file = io.BytesIO()
    soundfile.write(file, clip, rate, format=container, subtype=codec)
    return file.getvalue()


def pcm16(clip: Samples) -> bytes:
    """`clip` as the samples of a 16-bit WAV file."""
    return np.round(clip * 32767).astype("<i2").tobytes()


def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
    """A RIFF chunk; `size` is what it claims, its true size by default."""
    padding = b"\0" * (len(body) % 2)
    return name + struct.pack("<I", len(body) if size is None else size) + body + padding


def wav_format(
    codec: int = _PCM, channels: int = 1, rate: int = RATE, bits: int = 16, align: int | None = None
) -> bytes:
    """The `fmt ` chunk of a WAV file, whether it makes sense or not."""
    align = channels * bits // 8 if align is None else align
    byte_rate = min(rate * align, 2**32 - 1)
    return chunk(
        b"fmt ", struct.pack("<HHIIHH", codec, channels, rate, byte_rate, align % 65536, bits)
    )


def wav(samples: bytes, *, fmt: bytes | None = None, size: int | None = None) -> bytes:
    """A WAV file by hand: `fmt` is its format chunk, `size` the bytes of samples it claims."""
    return riff((fmt if fmt is not None else wav_format()) + chunk(b"data", samples, size))


def riff(chunks: bytes) -> bytes:
    """A RIFF WAVE file of `chunks`."""
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def wav_floats(samples: Samples, bits: int = 32) -> bytes:
    """A WAV file of float samples, also of such as no recorder makes."""
    kind = "<f4" if bits == 32 else "<f8"
    return wav(samples.astype(kind).tobytes(), fmt=wav_format(codec=_FLOAT, bits=bits))


def patched(data: bytes, position: int, replacement: bytes) -> bytes:
    """`data` with `replacement` written over it from `position` on (negative: from the end)."""
    position %= len(data)
    return data[:position] + replacement + data[position + len(replacement) :]


def part(data: bytes, share: float) -> bytes:
    """The first `share` of `data`, as an upload that broke off leaves it."""
    return data[: int(len(data) * share)]


def flac_of_length(flac: bytes, samples: int) -> bytes:
    """`flac` claiming to have `samples`; 0 means that the number is unknown (RFC 9639, 8.2)."""
    return patched(flac, 21, bytes([flac[21] & 0xF0]) + struct.pack(">I", samples))


def flac_of_0_hz(flac: bytes) -> bytes:
    """`flac` claiming a sample rate of 0 Hz."""
    return patched(flac, 18, bytes([0, 0, flac[20] & 0x0F]))


@functools.cache
def flac_of_silence(seconds: float, rate: int = 4000) -> bytes:
    """Digital silence, a few bytes a second."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate, 1, format="FLAC", subtype="PCM_16") as flac:
        block = np.zeros(rate * 60, np.int16)
        for _ in range(int(seconds / 60)):
            flac.write(block)
    return file.getvalue()


def opus_of_silence(seconds: float, claimed_seconds: float | None = None) -> bytes:
    """Ogg Opus (RFC 7845) of packets of one byte, which mean silence: 60 ms each (RFC 6716, 3.1).

    Its last page states `claimed_seconds`, the truth by default.
    """
    packet = bytes([3 << 3])  # configuration 3: SILK, narrow band, 60 ms, one frame; no data
    total = int(seconds / 0.06)
    claimed = round(48_000 * (seconds if claimed_seconds is None else claimed_seconds))
    head = b"OpusHead" + struct.pack("<BBHIHB", 1, 1, 0, 8000, 0, 0)
    tags = b"OpusTags" + struct.pack("<I", 6) + b"chorus" + struct.pack("<I", 0)
    pages = [_ogg_page([head], 0, 0, 2), _ogg_page([tags], 1, 0)]
    for number, first in enumerate(range(0, total, 255), 2):
        count = min(255, total - first)
        last = first + count == total
        granule = claimed if last else (first + count) * 2880
        pages.append(_ogg_page([packet] * count, number, granule, 4 if last else 0))
    return b"".join(pages)


def ogg_with(packet: bytes) -> bytes:
    """An Ogg file whose only packet is `packet`."""
    return _ogg_page([packet], 0, 0, 6)


def ogg_pages(data: bytes) -> Iterator[bytes]:
    """The pages of an Ogg file."""
    starts = [at for at in range(len(data)) if data.startswith(b"OggS\0", at)]
    for begin, end in zip(starts, [*starts[1:], len(data)], strict=True):
        yield data[begin:end]


def _ogg_page(packets: list[bytes], number: int, granule: int, flags: int = 0) -> bytes:
    """A page of short packets (RFC 3533, 6)."""
    lacing = bytes(len(packet) for packet in packets)
    head = struct.pack("<4sBBqIII", b"OggS", 0, flags, granule, 1, number, 0)
    page = head + bytes([len(packets)]) + lacing + b"".join(packets)
    return patched(page, 22, struct.pack("<I", _ogg_crc(page)))


def _ogg_crc(page: bytes) -> int:
    """CRC-32 with the polynomial 0x04c11db7, unreflected, from 0."""
    crc = 0
    for byte in page:
        crc = (crc << 8 & 0xFFFFFFFF) ^ _CRC_TABLE[crc >> 24 ^ byte]
    return crc


def _crc_entry(index: int) -> int:
    value = index << 24
    for _ in range(8):
        value = (value << 1) ^ (0x04C11DB7 if value & 0x80000000 else 0)
    return value & 0xFFFFFFFF


_CRC_TABLE = [_crc_entry(index) for index in range(256)]

#: The smallest PNG: one pixel.
PNG = (
    b"\x89PNG\r\n\x1a\n"
    + b"\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\0\0\0\0:~\x9bU"
    + b"\0\0\0\nIDATx\x9cc`\0\0\0\2\0\1H\xaf\xa4q"
    + b"\0\0\0\0IEND\xaeB`\x82"
)
GZIP = b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + zlib.compress(b"not speech")[2:-4]
