"""From a list of records to a list of results: read, choose, ask, collect.

The heart of the Router, without Ray: audio comes from a function, models are anything with the
shape of `Model`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Protocol

import numpy as np

from schemas.calibration import Calibration
from schemas.failures import ErrorCode, RecordError
from schemas.how import AS_ROUTED, How
from schemas.manifest import ManifestRecord
from schemas.settings import Settings
from schemas.text_rules import compile_text_rules
from schemas.transcript import Timings
from serve_app.batcher import Outcome
from serve_app.domain_model import Reply
from serve_app.engines.base import Clip, Hypothesis, Phrases
from serve_app.faults import own_fault
from serve_app.memory import AudioMemory
from serve_app.plans import Answer, Ask, Course, Decision, Failure, Planner
from serve_app.reading import SAMPLE_RATE, Load, Loaded, audio_fault, load_all, portions
from serve_app.results import Result, make_result
from serve_app.selection import REQUESTED, Choice, Selector

logger = logging.getLogger(__name__)

#: Decoded audio that one Router holds before it stops reading more (an hour is 230 MB).
MAX_AUDIO_BYTES = 256 << 20

#: Batches' worth of audio that a busy model is sent at a time. A call costs CPU on both sides
#: whatever its size; one batch at a time is for a model that would have nothing to do.
BUSY_MODEL_BATCHES = 16

#: What every model must answer to count as alive: half a second of silence.
PROBE_CLIP = np.zeros(SAMPLE_RATE // 2, np.float32)

#: What a record waits for before its plan has begun.
NOTHING = Ask(())


class ModelError(Exception):
    """A model gave no answer for a group of clips."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class Model(Protocol):
    """A model as the transcriber sees it."""

    async def transcribe(
        self,
        clips: Sequence[Clip],
        sample_rate: int,
        *,
        words: bool = False,
        phrases: Sequence[Phrases] = (),
        interactive: bool = False,
    ) -> Reply:
        """One outcome per clip, in order, or `ModelError`; either in bounded time."""
        ...


class Transcriber:
    """Works on several lists at once: while the models have one, the next one's audio is read.

    Args:
        settings: routing, audio and the models' settings.
        models: by the names in the settings.
        load: reads a record's audio; called in `settings.audio.threads` threads.
        calibration: what the models' confidences are worth.
        max_audio_bytes: decoded audio held before reading pauses.
    """

    def __init__(
        self,
        settings: Settings,
        models: Mapping[str, Model],
        load: Load,
        *,
        calibration: Calibration | None = None,
        max_audio_bytes: int = MAX_AUDIO_BYTES,
    ) -> None:
        self.settings = settings
        self.models = models
        self.selector = Selector(settings.routing)
        self.load_all = partial(load_all, load, speech=self.selector.needs_speech)
        self.planner = Planner(settings, calibration)
        self.write = {
            name: compile_text_rules(settings.text_rules[model.text_rules])
            for name, model in settings.models.items()
            if model.text_rules is not None
        }
        self.memory = AudioMemory(max_audio_bytes)
        self.threads = ThreadPoolExecutor(settings.audio.threads, thread_name_prefix="audio")
        self.readers = asyncio.Semaphore(settings.audio.threads)
        self.calls = dict.fromkeys(models, 0)  # under way, by model

    async def transcribe(
        self,
        records: Sequence[ManifestRecord],
        *,
        clips: Sequence[Clip] | None = None,
        how: How = AS_ROUTED,
    ) -> list[Result]:
        """One result per record, in order: what is wrong with a record is its `RecordError`.

        A call that is cancelled cancels its calls of the models and frees what it holds.

        Args:
            clips: the records' audio at `SAMPLE_RATE`, where it is not to be read.
        """
        return await _Job(self, records, clips, how).run()

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


@dataclass(eq=False)
class _Item:
    """A record whose audio is read and whose plan is under way.

    Attributes:
        ask: what its plan waits for; answers to an earlier one come too late.
        answers: to it, so far.
        queue_ms, model_ms, sha256: of the answers to all asks, by model.
        phrases: how many of the record's own each model listened for.
    """

    index: int
    record: ManifestRecord
    loaded: Loaded
    choice: Choice
    course: Course
    ask: Ask = NOTHING
    answers: dict[str, Answer] = field(default_factory=dict)
    timers: list[asyncio.TimerHandle] = field(default_factory=list)
    queue_ms: dict[str, float] = field(default_factory=dict)
    model_ms: dict[str, float] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)
    phrases: dict[str, int] = field(default_factory=dict)

    @property
    def clip(self) -> Clip:
        return self.loaded.clip

    @property
    def seconds(self) -> float:
        return self.loaded.measures["audio.seconds"]

    def timings(self, started: float) -> Timings:
        """Up to now, of a list that was received when the clock said `started`."""
        return Timings(
            audio_ms=self.loaded.audio_ms,
            queue_ms=max(self.queue_ms.values(), default=0.0),
            model_ms=sum(self.model_ms.values()),
            total_ms=(perf_counter() - started) * 1000,
        )


@dataclass
class _Group:
    """Items for one model, and their seconds of audio in all."""

    items: list[_Item] = field(default_factory=list)
    seconds: float = 0.0


class _Job:
    """One list of records on its way."""

    def __init__(
        self,
        owner: Transcriber,
        records: Sequence[ManifestRecord],
        clips: Sequence[Clip] | None,
        how: How,
    ) -> None:
        self._owner = owner
        self._records = records
        self._clips = clips
        self._how = how
        self._results: dict[int, Result] = {}
        self._under_way: dict[int, _Item] = {}
        self._groups: dict[str, _Group] = {}  # asked, not yet sent
        self._late: set[str] = set()  # models of groups that wait for no more records
        self._calls: set[asyncio.Task[None]] = set()
        self._reads: list[asyncio.Task[None]] = []
        self._fault: BaseException | None = None
        self._done = asyncio.Event()
        self._started = perf_counter()

    async def run(self) -> list[Result]:
        try:
            async with asyncio.TaskGroup() as reading:
                for indices in portions(self._records):
                    self._reads.append(reading.create_task(self._read(indices)))
            if self._fault is None:
                self._send_all()
            self._check_done()
            await self._done.wait()
            if self._fault is not None:
                raise self._fault
        finally:
            # calls that nobody waits for any more: of a member that was too slow, or of all
            for call in self._calls:
                call.cancel()
            for item in self._under_way.values():
                self._release(item)
        return [self._results[index] for index in range(len(self._records))]

    async def _read(self, indices: range) -> None:
        owner = self._owner
        records = self._records[indices.start : indices.stop]
        if self._clips is not None:  # nothing to read, so nothing to queue up for
            clips = self._clips[indices.start : indices.stop]
            loaded = await asyncio.to_thread(owner.load_all, records, clips)
            owner.memory.take(_bytes(loaded))
        else:
            async with owner.readers:
                await owner.memory.room()
                loaded = await asyncio.get_running_loop().run_in_executor(
                    owner.threads, owner.load_all, records
                )
                owner.memory.take(_bytes(loaded))
        for index, record, each in zip(indices, records, loaded, strict=True):
            if isinstance(each, Exception):
                code, message = audio_fault(each)
                logger.info("record %s: %s", record.id, code.value)
                self._results[index] = RecordError(id=record.id, code=code, message=message)
                continue
            try:
                self._begin(index, record, each)
            except Exception as error:
                self._under_way.pop(index, None)
                owner.memory.release(each.clip.nbytes)
                self._results[index] = own_fault(record, error)
        if owner.memory.full:
            # What waits here for the rest of its group may be all that keeps the readers of that
            # rest from starting.
            self._send_all()

    # -- plans --------------------------------------------------------------------------------

    def _begin(self, index: int, record: ManifestRecord, loaded: Loaded) -> None:
        if self._how.target is None:
            choice = self._owner.selector.choose(record, loaded.measures)
        else:
            choice = Choice(self._how.target, REQUESTED)
        course = self._owner.planner.course(choice.target, record)
        item = _Item(index, record, loaded, choice, course)
        ask = next(course)
        self._under_way[index] = item
        self._ask(item, ask)

    def _ask(self, item: _Item, ask: Ask) -> None:
        item.ask, item.answers = ask, {}
        if ask.timeout_s is not None:
            self._set_timer(item, ask.timeout_s)
        for model in ask.models:
            group = self._groups.setdefault(model, _Group())
            group.items.append(item)
            group.seconds += item.seconds
            if group.seconds >= self._enough_s(model):
                self._send(model)  # perhaps another replica takes the rest of the list

    def _answer(self, item: _Item, ask: Ask, model: str, answer: Answer) -> None:
        """Take an answer to `ask`; the plan goes on with the last one."""
        if item.ask is not ask or item.index not in self._under_way:
            return  # it was too late
        item.answers[model] = answer
        if len(item.answers) == len(ask.models):
            self._go_on(item)
        elif ask.patience_s is not None and isinstance(answer, Hypothesis):
            self._set_timer(item, ask.patience_s)

    def _set_timer(self, item: _Item, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        item.timers.append(loop.call_later(seconds, self._expire, item, item.ask))

    def _expire(self, item: _Item, ask: Ask) -> None:
        """The time of `ask` is over: go on with the answers that there are."""
        if item.ask is not ask or item.index not in self._under_way:
            return
        for model in ask.models:
            if model not in item.answers:
                reason = f"model {model}: gave no answer in time"
                item.answers[model] = Failure(ErrorCode.MODEL_TIMEOUT, reason, model)
        self._go_on(item)
        self._send_late()
        self._check_done()

    def _go_on(self, item: _Item) -> None:
        """Hand the answers to the plan: it asks for more, or has its last word."""
        for timer in item.timers:
            timer.cancel()
        item.timers.clear()
        try:
            ask = item.course.send(item.answers)
        except StopIteration as stop:
            self._finish(item, stop.value)
        except Exception as error:
            self._end(item, own_fault(item.record, error))
        else:
            self._ask(item, ask)
            self._late.update(ask.models)

    def _finish(self, item: _Item, found: Decision | Failure) -> None:
        try:
            result = make_result(
                item.record,
                found,
                item.choice,
                item.loaded.measures,
                item.timings(self._started),
                self._owner.settings.models,
                self._how,
                item.sha256,
                item.phrases,
                self._owner.write,
            )
        except Exception as error:
            result = own_fault(item.record, error)
        self._end(item, result)

    def _end(self, item: _Item, result: Result) -> None:
        self._results[item.index] = result
        del self._under_way[item.index]
        self._release(item)

    def _check_done(self) -> None:
        if len(self._results) == len(self._records):
            self._done.set()

    # -- models -------------------------------------------------------------------------------

    def _enough_s(self, model: str) -> float:
        """Seconds of audio that are sent without waiting for the rest of the list."""
        batches = BUSY_MODEL_BATCHES if self._owner.calls[model] else 1
        return batches * self._owner.settings.models[model].batch_seconds

    def _send_all(self) -> None:
        for model in list(self._groups):
            self._send(model)

    def _send_late(self) -> None:
        """What plans ask for next does not wait for records that are still read."""
        for model in self._late & self._groups.keys():
            self._send(model)
        self._late.clear()

    def _send(self, model: str) -> None:
        items = self._groups.pop(model).items
        asks = [item.ask for item in items]
        call = asyncio.create_task(self._transcribe(model, items, asks))
        self._calls.add(call)
        call.add_done_callback(self._end_call)

    def _end_call(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        if not call.cancelled() and (fault := call.exception()) is not None:
            self._fault = fault
            self._done.set()
            for read in self._reads:  # they may wait for memory that nobody frees any more
                read.cancel()

    def _release(self, item: _Item) -> None:
        self._owner.memory.release(item.clip.nbytes)

    async def _transcribe(self, model: str, items: list[_Item], asks: list[Ask]) -> None:
        owner = self._owner
        words = (
            self._how.words
            or owner.settings.models[model].words
            or model in owner.planner.needs_words
        )
        owner.calls[model] += 1
        try:
            phrases = [tuple(item.record.phrases or ()) for item in items]
            reply = await owner.models[model].transcribe(
                [item.clip for item in items],
                SAMPLE_RATE,
                words=words,
                phrases=phrases if any(phrases) else (),
                interactive=self._how.interactive,
            )
        except ModelError as error:
            failure = Failure(error.code, str(error), model)
            for item, ask in zip(items, asks, strict=True):
                self._answer(item, ask, model, failure)
        else:
            for item, ask, outcome in zip(items, asks, reply.outcomes, strict=True):
                item.queue_ms[model] = outcome.queue_ms
                item.model_ms[model] = outcome.model_ms
                item.sha256[model] = reply.sha256
                answer = _answer_of(model, outcome)
                if item.record.phrases and isinstance(answer, Hypothesis):
                    item.phrases[model] = answer.phrases or 0
                self._answer(item, ask, model, answer)
        finally:
            owner.calls[model] -= 1
        self._send_late()
        self._check_done()


def _bytes(loaded: Sequence[Loaded | Exception]) -> int:
    return sum(each.clip.nbytes for each in loaded if isinstance(each, Loaded))


def _answer_of(model: str, outcome: Outcome) -> Answer:
    heard = outcome.result
    if isinstance(heard, Hypothesis):
        return heard
    return Failure(heard.code, f"model {model}: {heard.message}", model)
