"""A manifest file through the Router into a manifest of transcripts, resumable.

The output has one line per manifest line, in the same order, and only ever grows by whole lines.
So the number of lines that it has says where to go on after a kill. A record without a transcript
has the keys that it came with and `processing_error`.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from queue import Empty
from typing import BinaryIO

import msgspec
from kafka import TopicPartition

from schemas.failures import RecordError
from schemas.settings import StreamSettings
from schemas.transcript import Transcript, encode_failure, encode_transcript
from workers.manifest_file import Line, read_manifest
from workers.stream.backend import Backend
from workers.stream.dispatcher import Dispatcher
from workers.stream.work import Work


class ResumeError(ValueError):
    """The output file is not the beginning of this manifest's output."""


class Progress(msgspec.Struct):
    """How far a job has come; its totals at the end.

    Attributes:
        resumed: lines that were there already.
        transcribed, failed: lines written by this run, with and without a transcript.
        audio_seconds: seconds of audio transcribed by this run.
        word_errors, reference_words: summed over this run's records with a reference.
    """

    resumed: int = 0
    transcribed: int = 0
    failed: int = 0
    audio_seconds: float = 0.0
    word_errors: int = 0
    reference_words: int = 0

    @property
    def done(self) -> int:
        """Lines in the output."""
        return self.resumed + self.transcribed + self.failed


def transcribe_file(
    manifest: Path,
    output: Path,
    backend: Backend,
    stream: StreamSettings,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Progress:
    """Transcribe every record of `manifest` into `output`; go on where an earlier run ended.

    Blocks. Failures of the backend are retried for as long as it takes, as in the stream.

    Args:
        report: called after each write.

    Raises:
        ResumeError: `output` holds something else than the beginning of this job's output.
        OSError: a file cannot be read or written.
    """
    progress = Progress()
    lines = read_manifest(manifest)
    with output.open("ab+") as file:
        progress.resumed = _resume(file, lines)
        report(progress)
        _run(lines, file, backend, stream, progress, report)
        os.fsync(file.fileno())
    return progress


def _resume(file: BinaryIO, lines: Iterator[Line]) -> int:
    """Cut off a half-written last line, skip the `lines` that are done, and count them."""
    file.seek(0)
    done = end = 0
    for written in file:
        if not written.endswith(b"\n"):
            break
        line = next(lines, None)
        try:
            written_id = msgspec.json.decode(written, type=dict)["id"]
        except (msgspec.DecodeError, KeyError):
            written_id = None
        if line is None or written_id != line.id:
            raise ResumeError(
                f"{file.name}:{done + 1}: is not the output for this manifest; "
                "name another output file or remove this one"
            )
        done += 1
        end += len(written)
    file.truncate(end)
    return done


def _run(
    lines: Iterator[Line],
    file: BinaryIO,
    backend: Backend,
    stream: StreamSettings,
    progress: Progress,
    report: Callable[[Progress], None],
) -> None:
    dispatcher = Dispatcher(backend, stream, current=lambda work: True)
    dispatcher.start()
    window: deque[tuple[Line, Work]] = deque()  # read, and not yet written
    try:
        while True:
            room = stream.max_pending_records - len(window)
            if room >= stream.batch_records or not window:
                fresh = [(line, _work(line)) for line in islice(lines, room)]
                window.extend(fresh)
                dispatcher.submit(_batches([work for _, work in fresh], stream.batch_records))
            if not window:
                return
            if window[0][1].outcome is None:
                try:
                    dispatcher.finished.get(timeout=0.2)
                except Empty:
                    continue
            if _write(window, file, progress):
                report(progress)
    finally:
        dispatcher.stop()


def _work(line: Line) -> Work:
    work = Work(TopicPartition("file", 0), line.number, None, record=line.record)
    if line.error is not None:
        work.outcome = RecordError(id=line.id, code=line.error.code, message=str(line.error))
    return work


def _batches(works: list[Work], size: int) -> list[list[Work]]:
    todo = [work for work in works if work.outcome is None]
    return [todo[start : start + size] for start in range(0, len(todo), size)]


def _write(window: deque[tuple[Line, Work]], file: BinaryIO, progress: Progress) -> int:
    """Write the finished prefix of `window`; how many lines that were."""
    written = []
    while window and (outcome := window[0][1].outcome) is not None:
        line, _ = window.popleft()
        if isinstance(outcome, Transcript):
            progress.transcribed += 1
            progress.audio_seconds += outcome.duration
            progress.word_errors += outcome.word_errors or 0
            progress.reference_words += outcome.reference_words or 0
            written.append(encode_transcript(outcome))
        else:
            progress.failed += 1
            written.append(encode_failure(line.record, outcome))
    if written:
        file.write(b"\n".join(written) + b"\n")
        file.flush()
    return len(written)
