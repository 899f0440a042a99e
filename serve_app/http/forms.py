"""Read multipart forms within limits; an uploaded file is never held in memory."""

from __future__ import annotations

import asyncio
import codecs
import os
import re
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from serve_app.http.bodies import declared_length, receive, storing
from serve_app.http.errors import ApiError, invalid

#: Most fields of a form, and largest field that is not a file: many times what requests need.
MAX_FIELDS = 300
MAX_FIELD_BYTES = 64 << 10
#: Names of a part that is the file, even if it has no file name.
_FILE_NAMES = ("file", "file[]")
#: Encodings of a field that its own Content-Type may name, by Python's names.
_CHARSETS = re.compile(
    r"utf-(8|16|16-be|16-le|32)|ascii|iso8859-\d+|cp\d+|koi8-[ru]|gb\w+|big5\w*|shift_jis|euc_\w+"
)
#: A part with one of these encodings of its own is as it stands.
_PLAIN_TRANSFER = ("7bit", "8bit", "binary")


@dataclass
class Upload:
    """An uploaded file, in an unnamed temporary file.

    Attributes:
        fd: descriptor, at the start of the file. The form closes it.
        size: in bytes.
    """

    fd: int
    size: int


@dataclass
class Form:
    """A form with at most one file; the caller closes it.

    Attributes:
        fields: the values of each field that is not a file, by name.
        file: the uploaded file, if there is one.
    """

    fields: dict[str, list[str]] = field(default_factory=dict)
    file: Upload | None = None

    def close(self) -> None:
        """Free the file."""
        if self.file is not None:
            os.close(self.file.fd)
            self.file = None


async def read_form(
    chunks: AsyncIterator[bytes],
    headers: Mapping[str, str],
    *,
    max_bytes: int,
    timeout_s: float,
) -> Form:
    """Read a multipart form with one file.

    The file is the part called "file" or "file[]", or any other part with a file name: the name of
    the part is a matter of the client.

    Args:
        chunks: of the body, as they arrive.
        headers: of the request.
        max_bytes: largest size of the body.
        timeout_s: longest time for the body to arrive.

    Raises:
        ApiError: 400, 408, 413, 415 or 503.
    """
    if (encoding := headers.get("content-encoding", "identity").strip().lower()) != "identity":
        raise ApiError(
            415,
            f"the body is encoded (`Content-Encoding: {encoding[:20]}`); send it without, audio is "
            "compressed already",
            code="unsupported_encoding",
        )
    kind, options = parse_options_header(headers.get("content-type", ""))
    if kind != "multipart/form-data":
        raise ApiError(
            415,
            "the body must be a form (`Content-Type: multipart/form-data`) with the field `file`, "
            "as of `curl -F file=@speech.wav`",
            code="unsupported_media_type",
        )
    boundary = options.get("boundary")
    if not boundary or len(boundary) > 200 or not boundary.isprintable():
        raise invalid("the Content-Type header has no valid boundary; let the HTTP client set it")
    reader = _Reader(boundary)
    too_large = ApiError(
        413,
        f"the body has more than {max_bytes} bytes; compress or split the file",
        param="file",
        code="audio_too_large",
    )
    try:
        await receive(
            chunks,
            reader.take,
            max_bytes=max_bytes,
            timeout_s=timeout_s,
            too_large=too_large,
            declared=declared_length(headers),
        )
        return reader.finish()
    except BaseException:
        reader.form.close()
        raise


class _Reader:
    """Builds a form from the chunks of its body.

    Attributes:
        form: what has been read so far.
    """

    def __init__(self, boundary: str) -> None:
        self.form = Form()
        self._parser = PushMultipartParser(
            boundary,
            max_segment_count=MAX_FIELDS,
            max_header_size=4096,
            max_header_count=8,
            header_charset="latin-1",  # of file names, which nobody reads, any encoding will do
        )
        self._name = ""  # of the current field
        self._upload: Upload | None = None  # the current field, if it is the file
        self._value = bytearray()
        self._charset = "utf-8"  # of the value

    async def take(self, chunk: bytes) -> None:
        try:
            for event in self._parser.parse(chunk):
                await self._on(event)
        except MultipartError as error:
            reason = error.args[0]  # the other arguments are parts of the body
            raise invalid(f"the form is malformed: {reason}") from None

    def finish(self) -> Form:
        try:
            self._parser.close()
        except MultipartError:
            reason = (
                "the form is incomplete, or its boundary is not the one in the Content-Type header"
            )
            raise invalid(reason) from None
        return self.form

    async def _on(self, event: MultipartSegment | bytes | bytearray | None) -> None:
        if event is None:
            self._end()
        elif isinstance(event, MultipartSegment):
            self._begin(event)
        elif self._upload is not None:
            with storing():
                await _write(self._upload.fd, bytes(event))
            self._upload.size += len(event)
        else:
            self._value += event
            if len(self._value) > MAX_FIELD_BYTES:
                reason = f"the field `{self._name}` has more than {MAX_FIELD_BYTES} bytes"
                raise invalid(reason, self._name)

    def _begin(self, segment: MultipartSegment) -> None:
        self._name = str(segment.name).encode("latin-1").decode(errors="replace")[:100]
        self._value.clear()
        self._upload = None
        self._refuse_wrapped(segment)
        if self._name in _FILE_NAMES or segment.filename is not None:
            if self.form.file is not None:
                raise invalid(
                    f"the form has more than one file; `{self._name}` is the second", "file"
                )
            self._upload = self.form.file = Upload(_unnamed_file(), 0)
        else:
            self._charset = self._charset_of(segment)

    def _charset_of(self, segment: MultipartSegment) -> str:
        if segment.charset is None:
            return "utf-8"
        try:
            name = codecs.lookup(segment.charset).name
        except LookupError:
            name = ""
        if not _CHARSETS.fullmatch(name):
            reason = f"the field `{self._name}` is in an unknown encoding; send it in UTF-8"
            raise invalid(reason, self._name)
        return name

    def _refuse_wrapped(self, segment: MultipartSegment) -> None:
        """Refuse a part that is not its content as it stands: coded as in an e-mail, or nested."""
        coding = (segment.header("Content-Transfer-Encoding") or "binary").strip().lower()
        if coding not in _PLAIN_TRANSFER:
            raise invalid(
                f"the part `{self._name}` is encoded (`Content-Transfer-Encoding: {coding[:20]}`); "
                "send it as it is",
                self._name,
            )
        if (segment.content_type or "").lower().startswith("multipart/"):
            raise invalid("the form has several files in one part; send one file", "file")

    def _end(self) -> None:
        if self._upload is not None:
            os.lseek(self._upload.fd, 0, os.SEEK_SET)
        else:
            try:
                value = self._value.decode(self._charset)
            except UnicodeDecodeError:
                written = "UTF-8" if self._charset == "utf-8" else f"in {self._charset}"
                raise invalid(f"the field `{self._name}` is not {written}", self._name) from None
            self.form.fields.setdefault(self._name, []).append(value)


def _unnamed_file() -> int:
    with storing(), tempfile.TemporaryFile(prefix="chorus-upload-") as file:
        return os.dup(file.fileno())


async def _write(fd: int, data: bytes) -> None:
    """Write all of `data` in a thread.

    Returns only when the thread has ended, even if cancelled: if `fd` were closed earlier, its
    number could belong to another upload by the time of the write.
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
