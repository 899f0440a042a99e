"""Transcribe one list of records: read the audio, run the plans, call the models."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter

from schemas.failures import ErrorCode, RecordError
from schemas.manifest import ManifestRecord
from schemas.requests import CallOptions, ClipRequest
from schemas.settings import REQUESTED, Settings
from schemas.transcript import Suppressed, Timings
from serve_app.audio.clip import SAMPLE_RATE, Clip
from serve_app.audio.memory import AudioMemory
from serve_app.audio.reading import Loaded, audio_fault, portions
from serve_app.engines.base import Hypothesis
from serve_app.model.protocol import Model, ModelError, Outcome
from serve_app.router.faults import internal_error
from serve_app.router.results import FinishedRecord, Result, ResultMaker
from serve_app.router.silence import without_silence
from serve_app.routing.plans import Answer, Decision, Failure, Planner, PlanRun, Query
from serve_app.routing.rules import Choice, Selector

logger = logging.getLogger(__name__)

#: Batches of audio in one call of a busy model. A call costs CPU on both sides whatever its size,
#: so only an idle model is sent a single batch at once.
BUSY_MODEL_BATCHES = 16

#: The query of a record whose plan has not started.
NO_QUERY = Query(())


@dataclass(frozen=True)
class RouterState:
    """The state that all jobs of one Router share.

    Attributes:
        settings: the whole file.
        models: the models, by name.
        selector: the rules.
        planner: the plans.
        results: makes transcripts and errors.
        load_all: reads and measures the audio of records; see `serve_app.audio.reading`.
        memory: counts the decoded audio that is held.
        threads: read audio.
        readers: limits how many lists of records are read at the same time.
        calls: number of calls under way, by model.
    """

    settings: Settings
    models: Mapping[str, Model]
    selector: Selector
    planner: Planner
    results: ResultMaker
    load_all: Callable[..., list[Loaded | Exception]]
    memory: AudioMemory
    threads: ThreadPoolExecutor
    readers: asyncio.Semaphore
    calls: dict[str, int]


@dataclass(eq=False)
class ActiveRecord:
    """A record whose audio is read and whose plan is running.

    Attributes:
        index: its place in the list.
        record: the record.
        loaded: its audio and measures.
        choice: the target that was chosen, and why.
        run: its plan.
        query: what the plan waits for; answers to an earlier query are ignored.
        answers: the answers to `query` so far, by model.
        timers: of `query`.
        queue_ms: time in the queue, by model.
        model_ms: time in the model, by model.
        models: digest of the model file, and the version, by model.
        phrases: how many of the record's phrases each model used.
    """

    index: int
    record: ManifestRecord
    loaded: Loaded
    choice: Choice
    run: PlanRun
    query: Query = NO_QUERY
    answers: dict[str, Answer] = field(default_factory=dict)
    timers: list[asyncio.TimerHandle] = field(default_factory=list)
    queue_ms: dict[str, float] = field(default_factory=dict)
    model_ms: dict[str, float] = field(default_factory=dict)
    models: dict[str, tuple[str, str]] = field(default_factory=dict)
    phrases: dict[str, int] = field(default_factory=dict)

    @property
    def clip(self) -> Clip:
        """The audio of the record."""
        return self.loaded.clip

    @property
    def seconds(self) -> float:
        """Length of the audio in seconds."""
        return self.loaded.measures["audio.seconds"]

    def timings(self, started: float) -> Timings:
        """Timings up to now.

        Args:
            started: `perf_counter` at the arrival of the list.
        """
        return Timings(
            audio_ms=self.loaded.audio_ms,
            queue_ms=max(self.queue_ms.values(), default=0.0),
            model_ms=sum(self.model_ms.values()),
            total_ms=(perf_counter() - started) * 1000,
        )


@dataclass
class _Group:
    """Records that wait to be sent to one model, and their total seconds of audio."""

    items: list[ActiveRecord] = field(default_factory=list)
    seconds: float = 0.0


class TranscriptionJob:
    """Transcribes one list of records.

    Args:
        state: of the Router.
        records: the list.
        clips: the records' audio at `SAMPLE_RATE`, if no files are to be read.
        options: of the call.
    """

    def __init__(
        self,
        state: RouterState,
        records: Sequence[ManifestRecord],
        clips: Sequence[Clip] | None,
        options: CallOptions,
    ) -> None:
        self._state = state
        self._records = records
        self._clips = clips
        self._options = options
        limit = options.max_no_speech_prob
        self._max_no_speech = limit or state.settings.routing.max_no_speech_prob
        self._load = partial(state.load_all, frames=self._max_no_speech is not None)
        self._results: dict[int, Result] = {}
        self._under_way: dict[int, ActiveRecord] = {}
        self._groups: dict[str, _Group] = {}  # by model, not yet sent
        self._follow_ups: set[str] = set()  # models whose groups are sent without waiting for more
        self._calls: set[asyncio.Task[None]] = set()
        self._reads: list[asyncio.Task[None]] = []
        self._fault: BaseException | None = None
        self._done = asyncio.Event()
        self._started = perf_counter()

    async def run(self) -> list[Result]:
        """Transcribe the list: one result per record, in order. Cancelling it frees its audio."""
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
            # calls whose answers are no longer needed: of a slow member, or all if cancelled
            for call in self._calls:
                call.cancel()
            for item in self._under_way.values():
                self._release(item)
        return [self._results[index] for index in range(len(self._records))]

    async def _read(self, indices: range) -> None:
        """Read the audio of some records, and start their plans."""
        state = self._state
        records = self._records[indices.start : indices.stop]
        if self._clips is not None:  # nothing to read: no reader is needed
            clips = self._clips[indices.start : indices.stop]
            loaded = await asyncio.to_thread(self._load, records, clips)
            state.memory.take(_bytes(loaded))
        else:
            async with state.readers:
                await state.memory.wait_for_room()
                loaded = await asyncio.get_running_loop().run_in_executor(
                    state.threads, self._load, records
                )
                state.memory.take(_bytes(loaded))
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
                state.memory.release(each.clip.nbytes)
                self._results[index] = internal_error(record, error)
        if state.memory.full:
            # Records whose group is not full may hold the memory that the next readers wait for.
            self._send_all()

    # -- plans --------------------------------------------------------------------------------

    def _begin(self, index: int, record: ManifestRecord, loaded: Loaded) -> None:
        """Choose the plan of a record, start it, and ask its first query."""
        if self._options.target is None:
            choice = self._state.selector.choose(record, loaded.measures)
        else:
            choice = Choice(self._options.target, REQUESTED)
        run = self._state.planner.run(choice.target, record)
        item = ActiveRecord(index, record, loaded, choice, run)
        query = next(run)
        self._under_way[index] = item
        self._ask(item, query)

    def _ask(self, item: ActiveRecord, query: Query) -> None:
        """Add the clip to the group of each model of `query`, and send groups that are full."""
        item.query, item.answers = query, {}
        if query.timeout_s is not None:
            self._set_timer(item, query.timeout_s)
        for model in query.models:
            group = self._groups.setdefault(model, _Group())
            group.items.append(item)
            group.seconds += item.seconds
            if group.seconds >= self._call_seconds(model):
                self._send(model)  # another replica may take the rest of the list

    def _answer(self, item: ActiveRecord, query: Query, model: str, answer: Answer) -> None:
        """Take an answer to `query`; the last one resumes the plan."""
        if item.query is not query or item.index not in self._under_way:
            return  # too late
        item.answers[model] = answer
        if len(item.answers) == len(query.models):
            self._resume(item)
        elif query.patience_s is not None and isinstance(answer, Hypothesis):
            self._set_timer(item, query.patience_s)

    def _set_timer(self, item: ActiveRecord, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        item.timers.append(loop.call_later(seconds, self._expire, item, item.query))

    def _expire(self, item: ActiveRecord, query: Query) -> None:
        """Resume the plan when the time of `query` is over, with the answers that there are."""
        if item.query is not query or item.index not in self._under_way:
            return
        for model in query.models:
            if model not in item.answers:
                reason = f"model {model}: did not answer in time"
                item.answers[model] = Failure(ErrorCode.MODEL_TIMEOUT, reason, model)
        self._resume(item)
        self._send_follow_ups()
        self._check_done()

    def _resume(self, item: ActiveRecord) -> None:
        """Send the answers to the plan: it returns its decision or asks another query."""
        for timer in item.timers:
            timer.cancel()
        item.timers.clear()
        try:
            query = item.run.send(item.answers)
        except StopIteration as stop:
            self._finish(item, stop.value)
        except Exception as error:
            self._end(item, internal_error(item.record, error))
        else:
            self._ask(item, query)
            self._follow_ups.update(query.models)

    def _finish(self, item: ActiveRecord, outcome: Decision | Failure) -> None:
        try:
            heard = outcome
            suppressed: list[Suppressed] = []
            speech, limit = item.loaded.speech, self._max_no_speech
            if isinstance(outcome, Decision) and speech is not None and limit is not None:
                outcome, suppressed = without_silence(outcome, speech, limit)
            result = self._state.results.make(
                FinishedRecord(
                    record=item.record,
                    outcome=outcome,
                    suppressed=suppressed,
                    heard=heard.text if isinstance(heard, Decision) else "",
                    choice=item.choice,
                    measures=item.loaded.measures,
                    timings=item.timings(self._started),
                    options=self._options,
                    models=item.models,
                    phrases=item.phrases,
                )
            )
        except Exception as error:
            result = internal_error(item.record, error)
        self._end(item, result)

    def _end(self, item: ActiveRecord, result: Result) -> None:
        self._results[item.index] = result
        del self._under_way[item.index]
        self._release(item)

    def _check_done(self) -> None:
        if len(self._results) == len(self._records):
            self._done.set()

    # -- models -------------------------------------------------------------------------------

    def _call_seconds(self, model: str) -> float:
        """Seconds of audio in a group that is sent without waiting for the rest of the list."""
        batches = BUSY_MODEL_BATCHES if self._state.calls[model] else 1
        return batches * self._state.settings.models[model].batch_seconds

    def _send_all(self) -> None:
        for model in list(self._groups):
            self._send(model)

    def _send_follow_ups(self) -> None:
        """Send the queries of resumed plans without waiting for records that are still read."""
        for model in self._follow_ups & self._groups.keys():
            self._send(model)
        self._follow_ups.clear()

    def _send(self, model: str) -> None:
        """Call a model with the clips of its group; `_transcribe` takes the answers."""
        items = self._groups.pop(model).items
        queries = [item.query for item in items]
        call = asyncio.create_task(self._transcribe(model, items, queries))
        self._calls.add(call)
        call.add_done_callback(self._end_call)

    def _end_call(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        if not call.cancelled() and (fault := call.exception()) is not None:
            self._fault = fault
            self._done.set()
            for read in self._reads:  # they may wait for memory that is never freed
                read.cancel()

    def _release(self, item: ActiveRecord) -> None:
        self._state.memory.release(item.clip.nbytes)

    async def _transcribe(
        self, model: str, items: list[ActiveRecord], queries: list[Query]
    ) -> None:
        state = self._state
        words = state.settings.models[model].words or model in state.planner.needs_words
        requests = [ClipRequest.of(item.record, self._options, words=words) for item in items]
        state.calls[model] += 1
        try:
            reply = await state.models[model].transcribe(
                [item.clip for item in items], SAMPLE_RATE, requests
            )
        except ModelError as error:
            failure = Failure(error.code, str(error), model)
            for item, query in zip(items, queries, strict=True):
                self._answer(item, query, model, failure)
        else:
            for item, query, outcome in zip(items, queries, reply.outcomes, strict=True):
                item.queue_ms[model] = outcome.queue_ms
                item.model_ms[model] = outcome.model_ms
                item.models[model] = reply.sha256, reply.version
                answer = _answer_of(model, outcome)
                if item.record.phrases and isinstance(answer, Hypothesis):
                    item.phrases[model] = answer.phrases or 0
                self._answer(item, query, model, answer)
        finally:
            state.calls[model] -= 1
        self._send_follow_ups()
        self._check_done()


def _bytes(loaded: Sequence[Loaded | Exception]) -> int:
    return sum(each.clip.nbytes for each in loaded if isinstance(each, Loaded))


def _answer_of(model: str, outcome: Outcome) -> Answer:
    result = outcome.result
    if isinstance(result, Hypothesis):
        return result
    return Failure(result.code, f"model {model}: {result.message}", model)
