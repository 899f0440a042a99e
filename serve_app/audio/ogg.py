"""The pages of an Ogg file (RFC 3533, 6)."""

from __future__ import annotations

import mmap
import os
import re

from serve_app.audio.header import Container, Header, unsupported

_HEADER = 27
#: A page begins with it: the capture pattern and the version.
_MARK = b"OggS\0"
_MAX_PAGE = 65_307
_LAST_PAGE = 0x04
_SERIAL = slice(14, 18)

#: Where a stream begins, which may be behind another one ("begin of stream").
OGG_BEGINNING = re.compile(rb"OggS\x00[\x02\x03\x06\x07]")
#: What the first packet of a stream begins with.
_CODECS = {
    b"\x01vorbis": "Vorbis",
    b"OpusHead": "Opus",
    b"\x7fFLAC": "FLAC",
    b"Speex   ": "Speex",
    b"\x80theora": "Theora",
}


def read_ogg(fd: int, magic: bytes) -> Header:
    """Read the header of the Ogg file open at `fd`, whose first bytes are `magic`.

    Raises:
        AudioError: `AUDIO_UNSUPPORTED`: it begins with another codec.
    """
    packet = magic[_HEADER + magic[26] :] if len(magic) > _HEADER else b""
    if not packet.startswith((b"\x01vorbis", b"OpusHead")):
        raise unsupported("is an Ogg file that begins with neither Vorbis nor Opus")
    size = os.fstat(fd).st_size
    tail = os.pread(fd, _MAX_PAGE, max(0, size - _MAX_PAGE))
    last = tail.rfind(b"OggS")
    page = tail[last:] if last >= 0 else b""
    joined = len(page) >= _HEADER and page[_SERIAL] != magic[_SERIAL]
    return Header(Container.OGG, cut=not _ends_the_file(page), irregular=joined)


def _ends_the_file(page: bytes) -> bool:
    """Whether the last page is complete, and either the end of the file or marked as the last."""
    if len(page) < _HEADER:
        return False
    length = _page_length(page)
    return length == len(page) or (length < len(page) and bool(page[5] & _LAST_PAGE))


def _page_length(page: bytes) -> int:
    segments = page[26]
    return _HEADER + segments + sum(page[_HEADER : _HEADER + segments])


def ogg_end(fd: int) -> int:
    """Where the last page of the Ogg file open at `fd` ends, and another file may begin."""
    size = end = os.fstat(fd).st_size
    while end > 0:
        begin = max(0, end - _MAX_PAGE)
        data = os.pread(fd, min(size, end + len(_MARK) - 1) - begin, begin)
        if (at := data.rfind(_MARK)) >= 0:
            page = os.pread(fd, _HEADER + 255, begin + at)
            return begin + at + _page_length(page) if len(page) >= _HEADER else 0
        end = begin
    return 0


def ogg_codecs(fd: int) -> list[str]:
    """The codecs of the streams in the Ogg file open at `fd`, in their order, each once."""
    found: dict[str, None] = {}
    with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as data:
        for page in OGG_BEGINNING.finditer(data):
            head = data[page.start() : page.start() + _HEADER]
            packet = page.start() + _HEADER + (head[26] if len(head) == _HEADER else 0)
            start = data[packet : packet + 8]
            for magic, name in _CODECS.items():
                if start.startswith(magic):
                    found[name] = None
    return list(found)
