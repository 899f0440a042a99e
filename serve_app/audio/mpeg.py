"""Frames of MPEG audio, MP3 and AAC, and the tags about them."""

from __future__ import annotations

import mmap
import os
import re

LAYER_2, LAYER_3 = 0x04, 0x02
#: Kilobits a second of layer III by the index in the header: of MPEG 1, and of MPEG 2 and 2.5.
_KILOBITS = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
}
#: Sample rates of MPEG 1 by the index in the header; MPEG 2 has halves, 2.5 quarters.
_MP3_RATES = (44_100, 48_000, 32_000, 1)
#: Frames in a row that show that bytes are audio.
FRAMES = 5
#: Most bytes of a frame, by the 13 bits of ADTS.
_MAX_FRAME = 8191
_ADTS_HEADER = 7
#: What a frame begins with; the bytes behind it decide (`is_mpeg` of layer III, `is_adts`).
_MARK = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb\xf0\xf1\xf8\xf9]")


def first_frames(data: bytes | mmap.mmap, start: int = 0) -> int | None:
    """Where the first `FRAMES` frames of MP3 or AAC in a row begin; None if there are none."""
    for mark in _MARK.finditer(data, start):
        if _are_frames(data, mark.start(), FRAMES):
            return mark.start()
    return None


def has_frames(fd: int, position: int, frames: int = FRAMES) -> bool:
    """Whether so many `frames` of MP3 or AAC in a row begin at the byte `position` of a file."""
    return _are_frames(os.pread(fd, frames * _MAX_FRAME, position), 0, frames)


def _are_frames(data: bytes | mmap.mmap, at: int, frames: int) -> bool:
    """Whether `frames` follow each other from `at` on.

    The mark of a frame has only 11 bits, so each must be where the header of the one before says,
    with the same version, layer and sample rate.
    """
    kind = data[at : at + 3]
    for _ in range(frames):
        head = data[at : at + _ADTS_HEADER]
        if is_mpeg(head, LAYER_3):
            length = _frame_length(head)
        elif is_adts(head) and len(head) == _ADTS_HEADER:
            length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
        else:
            return False
        if head[1] != kind[1] or (head[2] ^ kind[2]) & 0x0C or length < _ADTS_HEADER:
            return False
        at += length
    return True


def _frame_length(head: bytes) -> int:
    """Bytes of the layer III frame with this header (ISO 11172-3, 2.4.3.1); 0 if it is free."""
    version_1 = head[1] & 0x08 != 0
    kilobits = _KILOBITS[version_1][head[2] >> 4]
    rate = _MP3_RATES[head[2] >> 2 & 3] >> (0 if version_1 else 1 if head[1] & 0x10 else 2)
    if not kilobits:
        return 0
    return (144_000 if version_1 else 72_000) * kilobits // rate + (head[2] >> 1 & 1)


def skip_id3(fd: int, position: int = 0) -> int:
    """Where the audio starts behind ID3v2 tags (https://id3.org/id3v2.4.0-structure, 3.1)."""
    for _ in range(4):
        tag = os.pread(fd, 10, position)
        if len(tag) < 10 or not tag.startswith(b"ID3"):
            break
        size = tag[6] << 21 | tag[7] << 14 | tag[8] << 7 | tag[9]  # 7 bits a byte
        position += 10 + size
    return position


def skip_tags(fd: int, position: int) -> int:
    """Where something else begins behind the tags that stand at the end of an MP3.

    They are ID3v1 (https://id3.org/ID3v1) and APE (https://wiki.hydrogenaud.io/?title=APE_tags);
    the next file may have ID3v2 tags ahead of its audio.
    """
    for _ in range(4):
        tag = os.pread(fd, 16, position)
        if tag.startswith(b"TAG"):
            position += 128
        elif tag.startswith(b"APETAGEX") and len(tag) == 16:
            position += 32 + int.from_bytes(tag[12:16], "little")
        else:
            break
    return skip_id3(fd, position)


def is_adts(head: bytes) -> bool:
    """Whether `head` begins with the header of a frame of AAC (ISO 13818-7, 6.2): layer 0."""
    return len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0


def is_mpeg(head: bytes, layer: int) -> bool:
    """Whether `head` begins with the header of an MPEG audio frame (ISO 11172-3, 2.4.1.3).

    It has 11 bits of sync, then a valid version, layer, bit rate and sample rate.
    """
    return (
        len(head) >= 4
        and head[0] == 0xFF
        and head[1] & 0xE0 == 0xE0
        and head[1] & 0x18 != 0x08  # version 01 is reserved
        and head[1] & 0x06 == layer
        and head[2] & 0xF0 != 0xF0
        and head[2] & 0x0C != 0x0C
    )


def states_length(head: bytes) -> bool:
    """Whether the first frame is not audio but a header in which the encoder states the length."""
    return any(tag in head for tag in (b"Xing", b"Info", b"VBRI"))
