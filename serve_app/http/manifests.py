"""Transcribe manifests over HTTP: JSON lines in, JSON lines out as soon as they are ready."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any, BinaryIO, cast

from schemas.failures import ErrorCode, RecordError
from schemas.manifest import BYTE_ORDER_MARK, ManifestError, ManifestRecord, decode_manifest
from schemas.manifest_text import ManifestFileError, Peekable, plain_text
from schemas.transcript import Transcript, encode_failure, encode_transcript
from serve_app.http.bodies import declared_length, receive, storing
from serve_app.http.errors import ApiError, invalid
from serve_app.http.retries import PatientRouter, is_outage
from serve_app.router.results import Result

#: Records in one call of the Router, and concurrent calls: the defaults of the stream worker.
CALL_RECORDS, CALLS = 128, 4
#: Longest line in bytes; see `schemas.manifest` for the longest keys.
MAX_LINE_BYTES = 1 << 20

#: What `Content-Encoding` may say; what a body is compressed with is seen in itself.
_ENCODINGS = ("gzip", "x-gzip", "zstd", "bzip2", "x-bzip2", "xz", "x-xz", "identity", "")
_CHUNK_BYTES = 1 << 20

#: A record; or what a line says that is none, and why it is none.
Item = tuple[ManifestRecord | Mapping[str, Any], RecordError | None]


async def read_lines(
    chunks: AsyncIterator[bytes],
    headers: Mapping[str, str],
    *,
    max_bytes: int,
    timeout_s: float,
) -> BinaryIO:
    """Write the manifest in a body, as UTF-8, to an unnamed temporary file; see `plain_text`.

    Args:
        chunks: of the body, as they arrive.
        headers: of the request.
        max_bytes: largest size of the body, and of the manifest in it.
        timeout_s: longest time for the body to arrive.

    Returns:
        The file, at its start. The caller closes it.

    Raises:
        ApiError: 400, 408, 413, 415 or 503.
    """
    _check(headers)
    file = _temporary_file()
    try:
        await receive(
            chunks,
            lambda chunk: asyncio.to_thread(_write, file, chunk),
            max_bytes=max_bytes,
            timeout_s=timeout_s,
            too_large=_too_large("the body", max_bytes),
            declared=declared_length(headers),
        )
        return await asyncio.to_thread(_plain, file, max_bytes)
    except BaseException:
        with suppress(OSError):  # the rest that cannot be written either
            file.close()
        raise


def _check(headers: Mapping[str, str]) -> None:
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding not in _ENCODINGS:
        raise ApiError(
            415,
            f"the body is encoded (`Content-Encoding: {encoding[:20]}`); a manifest may be "
            "compressed with gzip, zstd, bzip2 or xz",
            code="unsupported_encoding",
        )
    if headers.get("content-type", "").strip().lower().startswith("multipart/"):
        raise ApiError(
            415,
            "the body is a form; the manifest itself is to be the body, as of "
            "`curl --data-binary @manifest.jsonl`",
            code="unsupported_media_type",
        )


def _too_large(what: str, max_bytes: int) -> ApiError:
    reason = f"{what} has more than {max_bytes} bytes; send the manifest in parts"
    return ApiError(413, reason, code="manifest_too_large")


def _temporary_file() -> BinaryIO:
    with storing():
        file = tempfile.TemporaryFile(prefix="chorus-manifest-")  # noqa: SIM115  returned to the caller
    return cast(BinaryIO, file)


def _write(file: BinaryIO, data: bytes) -> None:
    with storing():
        file.write(data)


def _plain(file: BinaryIO, max_bytes: int) -> BinaryIO:
    """The manifest in `file` as UTF-8, at its start: the same file if that is what it has."""
    with storing():
        file.seek(0)  # writes the rest
    found = file
    try:
        with plain_text(cast(Peekable, file), "the body") as text:
            if text is not file:
                found = _copy(text, max_bytes)
    except ManifestFileError as error:
        raise invalid(str(error)) from None
    if found is not file:
        file.close()
    with storing():
        size = found.seek(0, os.SEEK_END)
    if not size:
        found.close()
        raise invalid("the body is empty; send records as JSON, one per line")
    if _is_blank(found):
        found.close()
        raise invalid("the body has only blank lines; send records as JSON, one per line")
    found.seek(0)
    return found


def _is_blank(file: BinaryIO) -> bool:
    file.seek(0)
    head = file.read(_CHUNK_BYTES).removeprefix(BYTE_ORDER_MARK)
    while head and not head.strip():
        head = file.read(_CHUNK_BYTES)
    return not head


def _copy(text: Peekable, max_bytes: int) -> BinaryIO:
    """A temporary file with the rest of `text`, unless that is too large, as a bomb is."""
    copy = _temporary_file()
    try:
        while chunk := text.read(_CHUNK_BYTES):
            _write(copy, chunk)
            if copy.tell() > max_bytes:
                raise _too_large("the manifest, decompressed and in UTF-8,", max_bytes)
    except BaseException:
        with suppress(OSError):  # the rest that cannot be written either
            copy.close()
        raise
    return copy


async def transcribe_lines(
    router: PatientRouter, file: BinaryIO, charge: Callable[[float], None]
) -> AsyncGenerator[bytes, None]:
    """Yield a line for each record of a manifest, in the order in which they are finished.

    Failures of the service are retried, see `PatientRouter`.

    At most `CALLS` calls of the Router are under way, and a new one starts only when the finished
    lines have been consumed: a slow reader slows the work down.

    Args:
        router: the Router.
        file: the manifest, at its start.
        charge: called with the seconds of audio of each record that was transcribed.
    """
    items = _items(file)
    service = _Service(router)
    under_way: set[asyncio.Task[list[bytes]]] = set()
    try:
        while True:
            while len(under_way) < CALLS:
                some = await asyncio.to_thread(lambda: list(islice(items, CALL_RECORDS)))
                if not some:
                    break
                under_way.add(asyncio.create_task(_transcribe(service, some, charge)))
            if not under_way:
                return
            done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                for line in task.result():
                    yield line
    finally:
        for task in under_way:
            task.cancel()


class _Service:
    """The Router, asked with patience until it has been used up once; then until it answers."""

    def __init__(self, router: PatientRouter) -> None:
        self._router = router
        self._down = False

    async def transcribe(self, records: list[ManifestRecord]) -> list[Result]:
        results = await self._router.transcribe(records, retry_s=0.0 if self._down else None)
        self._down = all(map(is_outage, results))
        return results


async def _transcribe(
    service: _Service, items: list[Item], charge: Callable[[float], None]
) -> list[bytes]:
    records = [record for record, _ in items if isinstance(record, ManifestRecord)]
    results = iter(await service.transcribe(records) if records else [])
    lines = []
    for record, error in items:
        found = next(results) if error is None else error
        if isinstance(found, Transcript):
            charge(found.transcribed_seconds)
            lines.append(encode_transcript(found) + b"\n")
        elif found is not None:
            lines.append(encode_failure(record, found) + b"\n")
    return lines


def _items(file: BinaryIO) -> Iterator[Item]:
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            while line and not line.endswith(b"\n"):
                line = file.readline(MAX_LINE_BYTES)
            reason = f"has more than {MAX_LINE_BYTES} bytes; one line is one record"
            yield {}, _refused(number, ManifestError(ErrorCode.RECORD_JSON, reason))
        elif line.strip():
            try:
                yield decode_manifest(line, default_id=str(number)), None
            except ManifestError as error:
                yield error.keys, _refused(number, error)


def _refused(number: int, error: ManifestError) -> RecordError:
    return RecordError(
        id=error.id or str(number), code=error.code, message=f"line {number}: {error}"
    )
