"""Transcribing a manifest file into a manifest of transcripts, resumable.

The output has one line per manifest line, in the same order. A record without a transcript has the
keys that it came with and `processing_error`; each run tries it again.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from queue import Empty

import msgspec

from schemas.failures import RecordError
from schemas.settings import StreamSettings
from schemas.transcript import Transcript, encode_failure, encode_transcript
from serve_app.router.protocol import Backend
from serve_app.scoring.wer import count_errors
from serve_app.system.files import check_place
from workers.manifests.audio_paths import audio_of
from workers.manifests.files import manifest_files
from workers.manifests.manifest_file import Line, read_manifest
from workers.manifests.output_file import LineKeys, OutputFile, ResumeError
from workers.manifests.output_stream import OutputStream
from workers.manifests.source import is_output_stream, is_stream
from workers.stream.dispatcher import Dispatcher
from workers.stream.pending_record import PendingRecord

#: Hexadecimal digits of the digests that lines are known by.
_SETTINGS_DIGITS, _RECORD_DIGITS = 16, 24


class Progress(msgspec.Struct):
    """The progress of a job; at the end, its totals.

    Attributes:
        resumed: transcripts that were there already.
        transcribed, failed: records that this run came to, with and without a transcript.
        audio_seconds: seconds of audio transcribed by this run.
        word_errors, reference_words: of the whole output, by the convention of an evaluation: words
            that are heard where nothing is said count, and of a record that failed all words do.
    """

    resumed: int = 0
    transcribed: int = 0
    failed: int = 0
    audio_seconds: float = 0.0
    word_errors: int = 0
    reference_words: int = 0

    @property
    def done(self) -> int:
        """Lines that the output has, without those that are still to be tried again."""
        return self.resumed + self.transcribed + self.failed

    def count(self, line: Line, outcome: Transcript | RecordError) -> None:
        """Count what became of a line of the manifest."""
        if isinstance(outcome, Transcript):
            self.transcribed += 1
            self.audio_seconds += outcome.transcribed_seconds
            self.word_errors += outcome.word_errors or 0
            self.reference_words += outcome.reference_words or 0
            return
        self.failed += 1
        if line.record is not None and line.record.text is not None:
            words = count_errors(line.record.text, "", lang=line.record.lang)
            self.word_errors += words.errors
            self.reference_words += words.reference


@dataclass(frozen=True, slots=True)
class _Item:
    """A line that is worked on.

    Attributes:
        line: of the manifest.
        record: what is transcribed: the same record, with the place of its audio.
        again: whether the output has a failure in its place.
    """

    line: Line
    record: PendingRecord
    again: bool


class FileJob(AbstractContextManager["FileJob"]):
    """Transcribes every record of a manifest that has no transcript in the output yet.

    Args:
        manifest: one JSON object per line; see `read_manifest`.
        output: one transcript or failure per line, in the order of `manifest`; ``-`` or a pipe is
            written from the start.
        settings_digest: of all that transcripts follow from, see
            `serve_app.registry.identity.transcription_digest`.

    Attributes:
        total: lines of the manifest.
        left: records that a model is needed for.
        dropped: transcripts that the output had and that the manifest has no records for any more.
        progress: how far the job is.

    Raises:
        ResumeError: `output` is the manifest itself, another process writes it, or it holds
            something else than an output for this manifest and these settings.
        ManifestFileError: the manifest is none.
        OSError: a file cannot be read or written.
    """

    def __init__(self, manifest: Path, output: Path, settings_digest: str) -> None:
        self._manifest = manifest
        self._keys: LineKeys | None = None
        self._output: OutputFile | OutputStream
        if is_output_stream(output):
            self._output = OutputStream(output)
        else:
            check_place(output)
            _check_apart(manifest, output)
            next(read_manifest(manifest), None)  # its errors come before the output is made
            self._keys = LineKeys(settings_digest[:_SETTINGS_DIGITS], self._digest)
            self._output = OutputFile(output, lambda: read_manifest(manifest), self._keys)
        self.dropped = self._output.dropped
        failed = self._output.failed
        self.progress = Progress(
            resumed=len(failed) - sum(failed),
            word_errors=self._output.word_errors,
            reference_words=self._output.reference_words,
        )
        self.total = self.left = 0
        try:
            for index, line in enumerate(read_manifest(manifest)):
                self.total += 1
                self.left += line.record is not None and self._is_left(index)
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *error: object) -> None:
        self._output.__exit__(*error)

    def run(
        self,
        backend: Backend,
        stream: StreamSettings,
        report: Callable[[Progress], None] = lambda progress: None,
    ) -> Progress:
        """Transcribe what is left. Blocks; a job runs once.

        Failures of the backend are retried for as long as it takes, as in the stream.

        Args:
            backend: transcribes the records; it is not called if none is `left`.
            stream: sizes of lists, retries and time limits.
            report: called at the start and after each write.

        Raises:
            OSError: a file cannot be read or written.
        """
        report(self.progress)
        dispatcher = Dispatcher(backend, stream, current=lambda record: True)
        dispatcher.start()
        try:
            self._transcribe(dispatcher, stream, report)
        finally:
            dispatcher.stop()
        self._output.finish()
        return self.progress

    def _transcribe(
        self, dispatcher: Dispatcher, stream: StreamSettings, report: Callable[[Progress], None]
    ) -> None:
        items = self._items()
        window: deque[_Item] = deque()  # read, and not yet written
        while True:
            room = stream.max_pending_records - len(window)
            if room >= stream.batch_records or not window:
                fresh = list(islice(items, room))
                window.extend(fresh)
                dispatcher.submit(_batches([item.record for item in fresh], stream.batch_records))
            if not window:
                return
            if window[0].record.outcome is None:
                try:
                    dispatcher.finished.get(timeout=0.2)
                except Empty:
                    continue
            if self._write(window):
                report(self.progress)

    def _items(self) -> Iterator[_Item]:
        there = len(self._output.failed)
        for index, line in enumerate(read_manifest(self._manifest)):
            if self._is_left(index):
                yield _Item(line, self._pending(line), again=index < there)

    def _is_left(self, index: int) -> bool:
        failed = self._output.failed
        return index >= len(failed) or bool(failed[index])

    def _pending(self, line: Line) -> PendingRecord:
        if line.record is None:
            record = PendingRecord.of_file(line.number, None)
            error = line.error
            if error is not None:
                record.outcome = RecordError(id=line.id, code=error.code, message=str(error))
            return record
        placed = msgspec.structs.replace(line.record, audio_filepath=self._audio(line))
        return PendingRecord.of_file(line.number, placed)

    def _write(self, window: deque[_Item]) -> bool:
        """Write the finished lines at the start of `window` and remove them; whether any was."""
        new: list[bytes] = []
        again: list[bytes] = []
        while window and (outcome := window[0].record.outcome) is not None:
            item = window.popleft()
            self.progress.count(item.line, outcome)
            (again if item.again else new).append(self._encode(item.line, outcome))
        if again:
            self._output.replace(again)
        if new:
            self._output.append(new)
        return bool(again or new)

    def _encode(self, line: Line, outcome: Transcript | RecordError) -> bytes:
        """The line of the output, with the audio as the manifest names it."""
        key = None if self._keys is None else self._keys.of(line)
        if isinstance(outcome, RecordError):
            if line.record is not None:
                message = outcome.message.replace(self._audio(line), line.record.audio_filepath)
                outcome = msgspec.structs.replace(outcome, message=message)
            return encode_failure(line.keys, outcome, key)
        if line.record is None:
            raise RuntimeError(f"{line.id} has a transcript and is no record")
        named = line.record.audio_filepath
        found = msgspec.structs.replace(outcome, audio_filepath=named, resume_key=key)
        return encode_transcript(found)

    def _audio(self, line: Line) -> str:
        return audio_of(line)

    def _digest(self, line: Line) -> str:
        """Of a line as it stands and the place of its audio, which its path may not say."""
        content = line.data + b"\0" + os.fsencode(self._audio(line))
        return sha256(content).hexdigest()[:_RECORD_DIGITS]


def _check_apart(manifest: Path, output: Path) -> None:
    if output.exists() and any(
        output.samefile(file) for file in manifest_files(manifest) if not is_stream(file)
    ):
        raise ResumeError(f"{output}: is the manifest itself; name another output file")


def _batches(records: list[PendingRecord], size: int) -> list[list[PendingRecord]]:
    todo = [record for record in records if record.outcome is None]
    return [todo[start : start + size] for start in range(0, len(todo), size)]
