"""Opus in an Ogg file (RFC 7845), read as it mostly is: one stream of one or two channels, whole.

Whatever is out of the ordinary (another stream behind it, a hole, a wrong checksum, more than two
channels, a large file) is left to libsndfile, by `UnusualError`.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from serve_app.audio.clip import Clip
from serve_app.audio.libopus import MAX_SECONDS, RATES, OpusDecoder, OpusError, library

#: Larger files are not read whole: five minutes and more.
_MAX_BYTES = 2 << 20
_PAGE = struct.Struct("<4sBBqIIIB")  # RFC 3533, 6
_HEAD = struct.Struct("<8sBBHIhB")  # RFC 7845, 5.1
_CONTINUED, _FIRST, _LAST = 0x01, 0x02, 0x04
_CHECKSUM = slice(22, 26)
#: Ticks of a granule position, and of all durations here, in a second.
_TICKS = 48_000
#: Ticks of a frame by the configuration in the first byte of a packet (RFC 6716, 3.1).
_FRAME_TICKS = (
    *(480, 960, 1920, 2880) * 3,
    *(480, 960) * 2,
    *(120, 240, 480, 960) * 4,
)
_ONE_FRAME, _COUNTED, _VARIABLE = 0, 3, 0x80  # codes of packets, and of frames of several sizes
_MAX_TICKS = round(MAX_SECONDS * _TICKS)  # of a packet
_SHORT = 252  # sizes from here on take two bytes
#: The first byte of a packet: packets that have the same are coded in the same way.
_kind = itemgetter(0)
#: Bytes with their bits in reverse: the checksum is that of `zlib`, of bits in the other order.
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class UnusualError(Exception):
    """The file is not as this module reads it."""


class _Page(NamedTuple):
    """A page: its first byte, where its body begins and ends, and what its header says."""

    start: int
    body: int
    end: int
    flags: int
    granule: int
    sizes: bytes


class OpusStream:
    """The Opus file open at `fd`, with what `soundfile.SoundFile` has, as far as it is needed.

    Args:
        fd: descriptor of a regular file that begins with an Ogg page of Opus; not moved.
        sample_rate: hertz that are wanted. It is decoded to that, or less if it has less.

    Attributes:
        samplerate: hertz of the samples.
        file_rate: hertz of what was encoded, as far as the decoder is concerned.
        frames: how many there are.

    Raises:
        UnusualError: it is read otherwise.
    """

    format, subtype = "OGG", "OPUS"

    def __init__(self, fd: int, sample_rate: int) -> None:
        size = os.fstat(fd).st_size
        if library() is None or size > _MAX_BYTES or sample_rate not in RATES:
            raise UnusualError
        self._data = os.pread(fd, size, 0)
        first, *pages = _pages(self._data)
        head = self._data[first.body : first.end]
        if len(head) != _HEAD.size or not first.flags & _FIRST:
            raise UnusualError
        _, version, self.channels, self._skip, source, self._gain, family = _HEAD.unpack(head)
        if version != 1 or self.channels not in (1, 2) or family != 0:
            raise UnusualError
        self.file_rate = next((rate for rate in RATES if rate >= source), RATES[-1])
        self.samplerate = min(self.file_rate, sample_rate) if source else sample_rate
        self._factor = _TICKS // self.samplerate
        self._pages = _audio_pages(pages)
        self._begin = self._beginning()
        self.frames = (self._pages[-1].granule - self._begin - self._skip) // self._factor
        self._position = 0
        self._ready: Clip = np.zeros(0, np.float32)
        self._start(0, self._begin)

    def seek(self, position: int) -> None:
        """Move to the frame `position`; the first samples depend on what was before them."""
        wanted = self._begin + self._skip + position * self._factor
        before = self._begin
        for number, page in enumerate(self._pages):
            if page.granule > wanted or number == len(self._pages) - 1:
                self._position = position
                self._start(number, before)
                return
            before = page.granule

    def read(self, frames: int) -> Clip:
        """Up to `frames` frames, shape [frames] or [frames, channels]; fewer at the end only.

        Raises:
            UnusualError: what comes is read otherwise.
        """
        wanted = frames * self.channels
        parts, got = [self._ready], len(self._ready)
        while got < wanted and self._number < len(self._pages):
            parts.append(self._next_page())
            got += len(parts[-1])
        ready = np.concatenate(parts)
        found, self._ready = ready[:wanted], ready[wanted:]
        return found if self.channels == 1 else found.reshape(-1, self.channels)

    def _beginning(self) -> int:
        """The granule position at which the first page begins (RFC 7845, 4)."""
        page = self._pages[0]
        ticks = _ticks(self._packets(page))
        if page.flags & _LAST:
            if ticks < page.granule:
                raise UnusualError
            return 0
        if ticks > page.granule:
            raise UnusualError
        return page.granule - ticks

    def _start(self, number: int, granule: int) -> None:
        """Begin to decode at a page, whose first packet has a granule position."""
        self._number, self._granule = number, granule
        self._drop = self._begin + self._skip + self._position * self._factor - granule
        self._ready = np.zeros(0, np.float32)
        try:
            self._decoder = OpusDecoder(self.samplerate, self.channels, self._gain)
        except OpusError:
            raise UnusualError from None

    def _next_page(self) -> Clip:
        page = self._pages[self._number]
        self._number += 1
        whole = self._data[page.start : page.end]
        if _checksum(whole) != whole[_CHECKSUM]:
            raise UnusualError
        packets = self._packets(page)
        ticks = _ticks(packets)
        kept = page.granule - self._granule
        if kept < 0 or kept > ticks or (kept < ticks and not page.flags & _LAST):
            raise UnusualError
        try:
            samples = self._decoder.decode(list(_joined(packets)))
        except OpusError:
            raise UnusualError from None
        if len(samples) != ticks // self._factor * self.channels:
            raise UnusualError
        dropped = min(self._drop, kept)
        self._drop -= dropped
        self._granule = page.granule
        return samples[
            dropped // self._factor * self.channels : kept // self._factor * self.channels
        ]

    def _packets(self, page: _Page) -> list[bytes]:
        """The packets of a page: each ends with a segment of less than 255 bytes."""
        packets = []
        begin = end = page.body
        for size in page.sizes:
            end += size
            if size < 255:
                packets.append(self._data[begin:end])
                begin = end
        if begin != end or not all(packets):
            raise UnusualError  # one goes on in the next page
        return packets


def _pages(data: bytes) -> list[_Page]:
    """The whole pages of a stream, which follow each other from the first byte on."""
    pages: list[_Page] = []
    at, serial = 0, None
    while at < len(data):
        if at + _PAGE.size > len(data):
            break
        mark, version, flags, granule, stream, number, _, count = _PAGE.unpack_from(data, at)
        body = at + _PAGE.size + count
        sizes = data[at + _PAGE.size : body]
        end = body + sum(sizes)
        serial = stream if serial is None else serial
        if (
            (mark, version, stream, number) != (b"OggS", 0, serial, len(pages))
            or bool(flags & _FIRST) != (not pages)
            or (flags & _CONTINUED and len(pages) < 2)
        ):
            raise UnusualError
        if end > len(data):
            break
        pages.append(_Page(at, body, end, flags, granule, sizes))
        at = end
    if len(pages) < 3:
        raise UnusualError
    return pages


def _audio_pages(pages: list[_Page]) -> list[_Page]:
    """Those of `pages` that are behind the tags, which end a page (RFC 7845, 3)."""
    for number, page in enumerate(pages[:-1], 1):
        if page.sizes and page.sizes[-1] < 255:
            audio = pages[number:]
            break
    else:
        raise UnusualError
    if any(each.flags & _CONTINUED or each.granule < 0 or not each.sizes for each in audio):
        raise UnusualError
    return audio


def _checksum(page: bytes) -> bytes:
    """The checksum of a page as it stands in its header (RFC 3533, 6)."""
    start = _CHECKSUM.start
    bare = page[:start] + bytes(4) + page[start + 4 :]
    found = zlib.crc32(bare.translate(_REVERSED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return found.to_bytes(4, "big").translate(_REVERSED)  # the lowest byte comes first


def _ticks(packets: list[bytes]) -> int:
    """How long packets are together."""
    total = 0
    for first, some in groupby(packets, _kind):
        code, frame = first & 3, _FRAME_TICKS[first >> 3]
        if code == _COUNTED:
            total += frame * sum(packet[1] & 0x3F for packet in some if len(packet) > 1)
        else:
            total += frame * len(list(some)) * (1 if code == _ONE_FRAME else 2)
    return total


def _joined(packets: list[bytes]) -> Iterator[bytes]:
    """The same frames in fewer packets (RFC 6716, 3.2.5), as each costs a call of the decoder."""
    for first, some in groupby(packets, _kind):
        if first & 3 != _ONE_FRAME:
            yield from some
            continue
        run = list(some)
        most = _MAX_TICKS // _FRAME_TICKS[first >> 3]
        for start in range(0, len(run), most):
            yield _one_packet(run[start : start + most])


def _one_packet(packets: list[bytes]) -> bytes:
    """One packet of the frames of several, of which each has one, of the same kind."""
    if len(packets) == 1:
        return packets[0]
    head = [packets[0][0] | _COUNTED, _VARIABLE | len(packets)]
    for packet in packets[:-1]:
        size = len(packet) - 1
        if size < _SHORT:
            head.append(size)
        else:
            low = _SHORT + (size - _SHORT) % 4
            head += (low, (size - low) // 4)
    return bytes(head) + b"".join([packet[1:] for packet in packets])
