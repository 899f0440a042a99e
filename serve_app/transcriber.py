"""From a list of records to a list of results: read, choose, send, collect.

The heart of the Router, without Ray: audio comes from a function, models are anything with the
shape of `Model`.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Protocol

import msgspec
import numpy as np

from schemas.failures import ErrorCode, RecordError
from schemas.manifest import ManifestRecord
from schemas.settings import ModelSettings, Settings
from schemas.transcript import Timings, Transcript
from serve_app.audio import AudioError
from serve_app.audio.measures import measure
from serve_app.batcher import Outcome
from serve_app.domain_model import Reply
from serve_app.engines.base import Clip, Hypothesis
from serve_app.memory import AudioMemory
from serve_app.selection import Choice, Measures, Selector
from serve_app.wer import count_errors

logger = logging.getLogger(__name__)

#: Hertz that audio is decoded at, once for all models; a model of another rate resamples.
SAMPLE_RATE = 16_000
#: Decoded audio that one Router holds before it stops reading more (an hour is 230 MB).
MAX_AUDIO_BYTES = 256 << 20

#: Seconds of audio, by what the records say, that a thread reads at a time: each hand-over between
#: a thread and the event loop costs CPU. A record that does not say is read by itself.
READ_SECONDS = 30.0
#: Batches' worth of audio that a busy model is sent at a time. A call costs CPU on both sides
#: whatever its size; one batch at a time is for a model that would have nothing to do.
BUSY_MODEL_BATCHES = 16

#: What every model must answer to count as alive: half a second of silence.
PROBE_CLIP = np.zeros(SAMPLE_RATE // 2, np.float32)

Result = Transcript | RecordError
#: Reads one record's audio at `SAMPLE_RATE`. Blocks; raises `serve_app.audio.AudioError`.
Load = Callable[[ManifestRecord], Clip]


class ModelError(Exception):
    """A model gave no answer for a group of clips."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class Model(Protocol):
    """A model as the transcriber sees it."""

    async def transcribe(
        self, clips: Sequence[Clip], sample_rate: int, *, words: bool = False
    ) -> Reply:
        """One outcome per clip, in order, or `ModelError`; either in bounded time."""
        ...


class Transcriber:
    """Works on several lists at once: while the models have one, the next one's audio is read.

    Args:
        settings: routing, audio and the models' settings.
        models: by the names in the settings.
        load: reads a record's audio; called in `settings.audio.threads` threads.
        max_audio_bytes: decoded audio held before reading pauses.
    """

    def __init__(
        self,
        settings: Settings,
        models: Mapping[str, Model],
        load: Load,
        *,
        max_audio_bytes: int = MAX_AUDIO_BYTES,
    ) -> None:
        self.settings = settings
        self.models = models
        self.load = load
        self.selector = Selector(settings.routing)
        self.memory = AudioMemory(max_audio_bytes)
        self.threads = ThreadPoolExecutor(settings.audio.threads, thread_name_prefix="audio")
        self.readers = asyncio.Semaphore(settings.audio.threads)
        self.calls = dict.fromkeys(models, 0)  # under way, by model

    async def transcribe(self, records: Sequence[ManifestRecord]) -> list[Result]:
        """One result per record, in order: what is wrong with a record is its `RecordError`.

        A call that is cancelled cancels its calls of the models and frees what it holds.
        """
        return await _Job(self, records).run()

    async def probe(self, timeout_s: float) -> dict[str, bool]:
        """Whether each model answers the built-in clip within `timeout_s` seconds."""

        async def answers(model: Model) -> bool:
            try:
                async with asyncio.timeout(timeout_s):
                    await model.transcribe([PROBE_CLIP], SAMPLE_RATE)
            except (ModelError, TimeoutError):
                return False
            return True

        alive = await asyncio.gather(*map(answers, self.models.values()))
        return dict(zip(self.models, alive, strict=True))


class _Loaded(msgspec.Struct, frozen=True):
    """A record's audio, what was measured of it, and the milliseconds that both took."""

    clip: Clip
    measures: Measures
    audio_ms: float


class _Item(msgspec.Struct):
    """A record whose audio is read and whose model is chosen."""

    index: int
    record: ManifestRecord
    clip: Clip
    audio_ms: float
    choice: Choice
    measures: Measures

    @property
    def seconds(self) -> float:
        return self.measures["audio.seconds"]


class _Group(msgspec.Struct):
    """Items for one model, and their seconds of audio in all."""

    items: list[_Item] = []
    seconds: float = 0.0


class _Job:
    """One list of records on its way."""

    def __init__(self, owner: Transcriber, records: Sequence[ManifestRecord]) -> None:
        self._owner = owner
        self._records = records
        self._results: dict[int, Result] = {}
        self._groups: dict[str, _Group] = {}  # read, not yet sent
        self._started = perf_counter()

    async def run(self) -> list[Result]:
        try:
            async with asyncio.TaskGroup() as self._tasks:
                async with asyncio.TaskGroup() as reading:
                    for indices in _portions(self._records):
                        reading.create_task(self._read(indices))
                self._send_all()
        finally:
            for group in self._groups.values():
                self._release(group.items)
        return [self._results[index] for index in range(len(self._records))]

    async def _read(self, indices: range) -> None:
        owner = self._owner
        records = self._records[indices.start : indices.stop]
        async with owner.readers:
            await owner.memory.room()
            loaded = await asyncio.get_running_loop().run_in_executor(
                owner.threads, _load_all, owner.load, records
            )
            owner.memory.take(sum(each.clip.nbytes for each in loaded if isinstance(each, _Loaded)))
        for index, record, each in zip(indices, records, loaded, strict=True):
            if isinstance(each, Exception):
                code, message = _audio_fault(each)
                logger.info("record %s: %s", record.id, code.value)
                self._results[index] = RecordError(id=record.id, code=code, message=message)
                continue
            try:
                self._choose(index, record, each)
            except Exception as error:
                owner.memory.release(each.clip.nbytes)
                self._results[index] = _own_fault(record, error)
        if owner.memory.full:
            # What waits here for the rest of its group may be all that keeps the readers of that
            # rest from starting.
            self._send_all()

    def _choose(self, index: int, record: ManifestRecord, loaded: _Loaded) -> None:
        choice = self._owner.selector.choose(record, loaded.measures)
        group = self._groups.setdefault(choice.model, _Group())
        item = _Item(index, record, loaded.clip, loaded.audio_ms, choice, loaded.measures)
        group.items.append(item)
        group.seconds += item.seconds
        if group.seconds >= self._enough_s(choice.model):
            self._send(choice.model)  # perhaps another replica takes the rest of the list

    def _enough_s(self, model: str) -> float:
        """Seconds of audio that are sent without waiting for the rest of the list."""
        batches = BUSY_MODEL_BATCHES if self._owner.calls[model] else 1
        return batches * self._owner.settings.models[model].batch_seconds

    def _send_all(self) -> None:
        for model in list(self._groups):
            self._send(model)

    def _send(self, model: str) -> None:
        items = self._groups.pop(model).items
        task = self._tasks.create_task(self._transcribe(model, items))
        task.add_done_callback(lambda _: self._release(items))

    def _release(self, items: list[_Item]) -> None:
        self._owner.memory.release(sum(item.clip.nbytes for item in items))

    async def _transcribe(self, model: str, items: list[_Item]) -> None:
        settings = self._owner.settings.models[model]
        self._owner.calls[model] += 1
        try:
            reply = await self._owner.models[model].transcribe(
                [item.clip for item in items], SAMPLE_RATE, words=settings.words
            )
        except ModelError as error:
            for item in items:
                self._results[item.index] = RecordError(
                    id=item.record.id, code=error.code, message=str(error), model=model
                )
            return
        finally:
            self._owner.calls[model] -= 1
        for item, outcome in zip(items, reply.outcomes, strict=True):
            try:
                result = self._result(model, item, outcome, reply.sha256)
            except Exception as error:
                result = _own_fault(item.record, error)
            self._results[item.index] = result

    def _result(self, model: str, item: _Item, outcome: Outcome, sha256: str) -> Result:
        record, heard = item.record, outcome.result
        if not isinstance(heard, Hypothesis):
            return RecordError(
                id=record.id,
                code=heard.code,
                message=f"model {model}: {heard.message}",
                model=model,
            )
        errors = count_errors(record.text, heard.text) if record.text is not None else None
        if errors is not None and not errors.reference:
            errors = None
        return Transcript(
            id=record.id,
            audio_filepath=record.audio_filepath,
            offset=record.offset,
            duration=round(item.seconds, 3),
            text=record.text,
            lang=record.lang,
            domain=record.domain,
            conditions=record.conditions,
            pred_text=heard.text,
            selected_model=model,
            model_path=_public_path(self._owner.settings.models[model]),
            model_sha256=sha256,
            rule=item.choice.rule,
            rule_values=item.choice.values,
            audio_measures={
                name.removeprefix("audio."): each for name, each in item.measures.items()
            },
            confidence=heard.confidence,
            words=heard.words,
            wer=errors.percent if errors else None,
            word_errors=errors.errors if errors else None,
            reference_words=errors.reference if errors else None,
            timings=Timings(
                audio_ms=item.audio_ms,
                queue_ms=outcome.queue_ms,
                model_ms=outcome.model_ms,
                total_ms=(perf_counter() - self._started) * 1000,
            ),
            extra=record.extra,
        )


def _portions(records: Sequence[ManifestRecord]) -> Iterator[range]:
    """Indices of neighbours that are read together, at most `READ_SECONDS` unless it is one."""
    begin, total = 0, 0.0
    for index, record in enumerate(records):
        seconds = READ_SECONDS if record.duration is None else record.duration
        if index > begin and total + seconds > READ_SECONDS:
            yield range(begin, index)
            begin, total = index, 0.0
        total += seconds
    if records:
        yield range(begin, len(records))


def _load_all(load: Load, records: Sequence[ManifestRecord]) -> list[_Loaded | Exception]:
    """Each record's audio, or why there is none."""
    loaded: list[_Loaded | Exception] = []
    for record in records:
        started = perf_counter()
        try:
            clip = load(record)
            measures = measure(clip, SAMPLE_RATE)
            loaded.append(_Loaded(clip, measures, (perf_counter() - started) * 1000))
        except Exception as error:
            loaded.append(error)
    return loaded


def _audio_fault(error: Exception) -> tuple[ErrorCode, str]:
    if isinstance(error, AudioError):
        return error.code, str(error)
    # not one of the loader's own: a fault of ours or of a library; the record must not be lost
    _log_where(error)
    if isinstance(error, OSError | MemoryError):
        return ErrorCode.AUDIO_IO, f"`audio_filepath`: cannot be read ({type(error).__name__})"
    return (
        ErrorCode.AUDIO_UNDECODABLE,
        f"`audio_filepath`: fails to decode ({type(error).__name__})",
    )


def _own_fault(record: ManifestRecord, error: Exception) -> RecordError:
    """A fault of ours that this record brings out: it must not cost its neighbours anything."""
    _log_where(error)
    reason = f"Chorus itself fails on this record ({type(error).__name__}); please report it"
    return RecordError(id=record.id, code=ErrorCode.ROUTER_FAULT, message=reason)


def _log_where(error: Exception) -> None:
    """Log the place of an unexpected error; its message may hold a path or a transcript."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    logger.error("%s at %s:%s", type(error).__name__, where.name, where.lineno)


def _public_path(model: ModelSettings) -> str:
    """Where the model came from, without the folders of this machine."""
    return Path(model.path).name if model.path is not None else model.source
