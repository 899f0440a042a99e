"""Manifests over HTTP: JSON lines in, JSON lines out as they become ready."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from itertools import islice
from typing import BinaryIO

from schemas.failures import ErrorCode, RecordError
from schemas.manifest import ManifestError, ManifestRecord, decode_manifest
from schemas.transcript import Transcript, encode_failure, encode_transcript
from serve_app.http.bodies import receive
from serve_app.http.errors import ApiError, invalid
from serve_app.http.speech import Backend

#: Records in one call of the Router, and calls at once: as the stream worker has them.
RECORDS, CALLS = 128, 4
#: Longest line in bytes; see `schemas.manifest` for the longest keys.
MAX_LINE_BYTES = 1 << 20

Item = tuple[ManifestRecord | None, RecordError | None]


async def read_lines(chunks: AsyncIterator[bytes], *, max_bytes: int, timeout_s: float) -> BinaryIO:
    """The body in an unnamed temporary file, at its start. The caller closes it.

    Raises:
        ApiError: 408, 413 or 422.
    """
    file = tempfile.TemporaryFile(prefix="chorus-manifest-")  # noqa: SIM115  it is handed on
    too_large = ApiError(
        413,
        f"the body has more than {max_bytes} bytes; send the manifest in parts",
        code="manifest_too_large",
    )
    try:
        await receive(
            chunks,
            lambda chunk: asyncio.to_thread(file.write, chunk),
            max_bytes=max_bytes,
            timeout_s=timeout_s,
            too_large=too_large,
        )
        if not file.tell():
            raise invalid("the body is empty; send JSON lines")
    except BaseException:
        file.close()
        raise
    file.seek(0, os.SEEK_SET)
    return file


async def transcribe_lines(
    backend: Backend, file: BinaryIO, charge: Callable[[float], None]
) -> AsyncGenerator[bytes, None]:
    """A line for each record of `file`, in the order in which they become ready.

    `charge` is told the seconds of audio of each that was transcribed.

    At most `CALLS` lists are under way, and none is begun before what is ready has been taken: a
    slow reader slows this down.
    """
    items = _items(file)
    under_way: set[asyncio.Task[list[bytes]]] = set()
    try:
        while True:
            while len(under_way) < CALLS:
                some = await asyncio.to_thread(lambda: list(islice(items, RECORDS)))
                if not some:
                    break
                under_way.add(asyncio.create_task(_transcribe(backend, some, charge)))
            if not under_way:
                return
            done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                for line in task.result():
                    yield line
    finally:
        for task in under_way:
            task.cancel()


async def _transcribe(
    backend: Backend, items: list[Item], charge: Callable[[float], None]
) -> list[bytes]:
    records = [record for record, _ in items if record is not None]
    results = iter(await backend.transcribe(records) if records else [])
    lines = []
    for record, error in items:
        found = next(results) if record is not None else error
        if isinstance(found, Transcript):
            charge(found.duration)
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
            reason = f"has more than {MAX_LINE_BYTES} bytes"
            yield None, _refused(number, ManifestError(ErrorCode.RECORD_JSON, reason))
        elif line.strip():
            try:
                yield decode_manifest(line, default_id=str(number)), None
            except ManifestError as error:
                yield None, _refused(number, error)


def _refused(number: int, error: ManifestError) -> RecordError:
    return RecordError(id=str(number), code=error.code, message=f"line {number}: {error}")
