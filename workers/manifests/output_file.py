"""The output of a job from a manifest file: a line for each line of the manifest, in its order.

A line is known by its `resume_key`: digests of the settings and of the record that it was made
from. So a later run knows what is done, also where the manifest has changed meanwhile.

New lines are appended. Records that failed in an earlier run are tried again; their lines go to a
second file, ``OUTPUT.retried``, until they can take their places in a new version of the output,
which replaces the old one at once. Whatever stops a run, what it has written is not lost.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from schemas.failures import ErrorCode, RecordError
from schemas.transcript import encode_failure
from serve_app.system.files import atomic_path, named, write_all
from workers.manifests.manifest_file import Line

_ADVICE = "name another output file, or remove this one"
_NOT_YET = "the run ended before it came to this record; the same command goes on"
_BUSY = "another `chorus transcribe` is writing it; wait for its end, or name another output file"
_BLOCK = 1 << 16


class ResumeError(ValueError):
    """The output file cannot be gone on with; the message says why and what to do."""


class LineKeys(NamedTuple):
    """What the lines of an output are known by.

    Attributes:
        settings: digest of the settings and models, without ``-``.
        record_digest: gives the digest of a line of the manifest.
    """

    settings: str
    record_digest: Callable[[Line], str]

    def of(self, line: Line) -> str:
        """The `resume_key` of what is made of `line`."""
        return f"{self.settings}-{self.record_digest(line)}"


class _Written(msgspec.Struct, frozen=True):
    """What must be known of a line that is in the output; see `Transcript`."""

    id: str
    resume_key: str = ""
    processing_error: str | None = None
    word_errors: int | None = None
    reference_words: int | None = None

    @property
    def failed(self) -> bool:
        return self.processing_error is not None


class _Place(NamedTuple):
    """A line in a file: its start and length in bytes, and what is in it."""

    file: IO[bytes]
    start: int
    length: int
    written: _Written


_decoder = msgspec.json.Decoder(_Written)


class OutputFile(AbstractContextManager["OutputFile"]):
    """An output that a later run can go on with. One process at a time writes to it.

    Args:
        path: of the output; it is created if it is not there.
        lines: the lines of the manifest, from the first, each time that it is called.
        keys: what the lines are known by.

    Attributes:
        failed: for each line that is there, in order, whether it has no transcript.
        dropped: transcripts of an earlier run that were left out, since the manifest does not have
            their records any more.
        word_errors, reference_words: summed over the transcripts that are there.

    Raises:
        ResumeError: another process writes to the file, or it is not an output for this manifest
            and these settings.
        OSError: it cannot be read or written.
    """

    def __init__(self, path: Path, lines: Callable[[], Iterator[Line]], keys: LineKeys) -> None:
        self.failed = bytearray()
        self.dropped = self.word_errors = self.reference_words = 0
        self._name = path
        self._path = path.resolve()  # a link to the file stays one when the file is replaced
        self._lines = lines
        self._keys = keys
        self._retries_path = self._path.with_name(f"{self._path.name}.retried")
        self._retries: IO[bytes] | None = None
        with named(path):
            try:
                self._file = _locked(self._path)
            except BlockingIOError:
                raise ResumeError(f"{path}: {_BUSY}") from None
            try:
                self._resume()
            except BaseException:
                self.__exit__()
                raise

    def append(self, lines: Sequence[bytes]) -> None:
        """Write the next lines of the output."""
        with named(self._name):
            write_all(self._file.fileno(), b"".join(line + b"\n" for line in lines))

    def replace(self, lines: Sequence[bytes]) -> None:
        """Write lines for records that failed in an earlier run; `finish` puts them in place."""
        with named(self._retries_path):
            if self._retries is None:
                self._retries = self._retries_path.open("ab")
            write_all(self._retries.fileno(), b"".join(line + b"\n" for line in lines))

    def finish(self) -> None:
        """Put the lines of `replace` in their places, and wait until all is on disk."""
        with named(self._name):
            if self._retries is not None:
                self._rebuild()
            os.fsync(self._file.fileno())

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self._retries is not None:
            self._retries.close()

    def _resume(self) -> None:
        end = _end_of_lines(self._file)
        self._check_rest(end)
        if self._retries_path.exists() or not self._in_order():
            self._rebuild()
            if not self._in_order():
                raise ResumeError(f"{self._name}: the manifest has just changed; try again")
        else:
            self._file.truncate(end)

    def _check_rest(self, end: int) -> None:
        """Refuse a file whose last line, which is not whole, is not half of one of ours."""
        self._file.seek(end)
        rest = self._file.read()
        try:
            ours = not rest or b'"resume_key"' in rest or not msgspec.json.decode(rest)
        except msgspec.DecodeError:
            ours = rest.startswith(b"{")
        if not ours:
            raise ResumeError(f"{self._name}: is not the output for this manifest; {_ADVICE}")

    def _in_order(self) -> bool:
        """Note what is there; False if its lines are not those that the manifest begins with."""
        self.failed.clear()
        self.word_errors = self.reference_words = 0
        lines = self._lines()
        for place in self._places(self._file):
            line, written = next(lines, None), place.written
            if line is None or written.resume_key != self._keys.of(line):
                return False
            self.failed.append(written.failed)
            self.word_errors += written.word_errors or 0
            self.reference_words += written.reference_words or 0
        return True

    def _rebuild(self) -> None:
        """Replace the output by one with what is known, in the manifest's order.

        It ends with the last record that is known; records before it that are not are failures.
        """
        with closing(self._retries_path.open("ab+")) as retries:
            known: dict[str, _Place] = {}
            for place in (*self._places(self._file), *self._places(retries)):
                before = known.get(place.written.resume_key)
                if before is None or before.written.failed:
                    known[place.written.resume_key] = place
            length = self._known_lines(known)
            with atomic_path(self._path) as temporary:
                new = _locked(temporary)
                for line, _ in zip(self._lines(), range(length), strict=False):
                    new.write(self._line(line, known) + b"\n")
                new.flush()
        self._file.close()
        self._file = new
        self._retries_path.unlink(missing_ok=True)

    def _known_lines(self, known: dict[str, _Place]) -> int:
        """The number of lines of the manifest up to the last one that is known."""
        length = 0
        transcripts = {key for key, place in known.items() if not place.written.failed}
        left = set(transcripts)
        for number, line in enumerate(self._lines(), 1):
            key = self._keys.of(line)
            if key in known:
                length = number
                left.discard(key)
        if left and left == transcripts:
            raise ResumeError(f"{self._name}: is the output for another manifest; {_ADVICE}")
        self.dropped += len(left)
        return length

    def _line(self, line: Line, known: dict[str, _Place]) -> bytes:
        """The line of the new output for a line of the manifest."""
        key = self._keys.of(line)
        place = known.get(key)
        if place is None:
            error = RecordError(id=line.id, code=ErrorCode.ROUTER_UNAVAILABLE, message=_NOT_YET)
            return encode_failure(line.keys, error, key)
        place.file.seek(place.start)
        data = place.file.read(place.length)
        if place.written.id == line.id:
            return data
        keys: dict[str, Any] = msgspec.json.decode(data)  # its id is the number of its line
        return msgspec.json.encode({**keys, "id": line.id})

    def _places(self, file: IO[bytes]) -> Iterator[_Place]:
        """The lines of a file of this output, whole ones only."""
        start = file.seek(0)
        for number, data in enumerate(file, 1):
            if not data.endswith(b"\n"):
                return
            try:
                written = _decoder.decode(data)
            except (msgspec.DecodeError, UnicodeDecodeError):
                written = _Written("")
            if not written.resume_key:
                raise self._foreign(number, "is not the output for this manifest")
            if written.resume_key.partition("-")[0] != self._keys.settings:
                raise self._foreign(number, "was made with other models or settings")
            yield _Place(file, start, len(data) - 1, written)
            start += len(data)

    def _foreign(self, number: int, reason: str) -> ResumeError:
        return ResumeError(f"{self._name}:{number}: {reason}; {_ADVICE}")


def _locked(path: Path) -> IO[bytes]:
    """The file at `path`, opened to read and append, and locked until it is closed.

    Raises:
        BlockingIOError: another process has locked it.
    """
    while True:
        file = path.open("ab+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except FileNotFoundError:
            pass
        except BaseException:
            file.close()
            raise
        file.close()  # it was replaced between opening and locking: the other one counts


def _end_of_lines(file: IO[bytes]) -> int:
    """The number of bytes of the whole lines of a file."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - _BLOCK)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
