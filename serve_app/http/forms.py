"""Bodies of requests, bounded while they arrive; an uploaded file never lies in memory."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from serve_app.http.bodies import receive
from serve_app.http.errors import ApiError, invalid

#: Fields of a form, and bytes of one that is no file: many times what a sane request has.
MAX_FIELDS = 300
MAX_FIELD_BYTES = 64 << 10


@dataclass
class Upload:
    """An uploaded file: an unnamed temporary one.

    Attributes:
        fd: descriptor, at the file's start. The form closes it.
        size: in bytes.
    """

    fd: int
    size: int


@dataclass
class Form:
    """A form with at most one file. Close it."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    file: Upload | None = None

    def close(self) -> None:
        """Free the file."""
        if self.file is not None:
            os.close(self.file.fd)
            self.file = None


async def read_form(
    chunks: AsyncIterator[bytes], content_type: str, *, max_bytes: int, timeout_s: float
) -> Form:
    """A multipart form, whose only file is called "file".

    Args:
        chunks: of the body, as they arrive.
        content_type: the header.
        max_bytes: of the body.
        timeout_s: longest time for the body to arrive.

    Raises:
        ApiError: 408, 413, 415 or 422.
    """
    kind, options = parse_options_header(content_type)
    if kind != "multipart/form-data":
        raise ApiError(
            415, "send a form: `Content-Type: multipart/form-data`", code="unsupported_media_type"
        )
    boundary = options.get("boundary")
    if not boundary or len(boundary) > 200 or not boundary.isprintable():
        raise invalid("the Content-Type header has no boundary that can be used")
    reader = _Reader(boundary)
    too_large = ApiError(
        413,
        f"the body has more than {max_bytes} bytes; compress or split the file",
        param="file",
        code="audio_too_large",
    )
    try:
        await receive(
            chunks, reader.take, max_bytes=max_bytes, timeout_s=timeout_s, too_large=too_large
        )
        return reader.finish()
    except BaseException:
        reader.form.close()
        raise


class _Reader:
    """Turns chunks into a form."""

    def __init__(self, boundary: str) -> None:
        self.form = Form()
        self._parser = PushMultipartParser(
            boundary, max_segment_count=MAX_FIELDS, max_header_size=4096, max_header_count=8
        )
        self._segment: MultipartSegment | None = None
        self._value = bytearray()

    async def take(self, chunk: bytes) -> None:
        try:
            for event in self._parser.parse(chunk):
                await self._on(event)
        except MultipartError as error:
            reason = error.args[0]  # what else it holds are parts of the body
            raise invalid(f"the form cannot be read: {reason}") from None

    def finish(self) -> Form:
        try:
            self._parser.close()
        except MultipartError:
            reason = "the form is cut off, or its boundary is not that of the Content-Type header"
            raise invalid(reason) from None
        return self.form

    async def _on(self, event: MultipartSegment | bytes | bytearray | None) -> None:
        if event is None:
            self._end()
        elif isinstance(event, MultipartSegment):
            self._begin(event)
        elif self._is_file():
            assert self.form.file is not None
            await _write(self.form.file.fd, bytes(event))
            self.form.file.size += len(event)
        else:
            self._value += event
            if len(self._value) > MAX_FIELD_BYTES:
                raise invalid(f"has more than {MAX_FIELD_BYTES} bytes", self._name())

    def _begin(self, segment: MultipartSegment) -> None:
        self._segment = segment
        self._value.clear()
        if self._is_file():
            if self.form.file is not None:
                raise invalid("give one file", "file")
            self.form.file = Upload(_unnamed_file(), 0)

    def _end(self) -> None:
        if self._is_file():
            assert self.form.file is not None
            os.lseek(self.form.file.fd, 0, os.SEEK_SET)
        else:
            try:
                value = self._value.decode()
            except UnicodeDecodeError:
                raise invalid("is not UTF-8", self._name()) from None
            self.form.fields.setdefault(self._name(), []).append(value)
        self._segment = None

    def _name(self) -> str:
        assert self._segment is not None
        return str(self._segment.name)[:100]

    def _is_file(self) -> bool:
        assert self._segment is not None
        return self._segment.name == "file"


def _unnamed_file() -> int:
    with tempfile.TemporaryFile(prefix="chorus-upload-") as file:
        return os.dup(file.fileno())


async def _write(fd: int, data: bytes) -> None:
    """Write all of `data` in a thread.

    It ends with the thread, also where it is cancelled: closed before that, the number `fd` could
    be another upload's by the time of the write.
    """
    writing = asyncio.ensure_future(asyncio.to_thread(_write_all, fd, data))
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        while not writing.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([writing])
        raise


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
