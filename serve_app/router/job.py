"""Transcribe one list of records: read the audio, run the plans, call the models."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from time import perf_counter

import msgspec

from schemas.failures import ErrorCode, RecordError
from schemas.manifest import ManifestRecord
from schemas.requests import CallOptions
from schemas.settings import REQUESTED
from schemas.transcript import Suppressed
from serve_app.audio import AudioError
from serve_app.audio.clip import Recording
from serve_app.audio.reading import Loaded, audio_fault, portions
from serve_app.engines.base import Hypothesis
from serve_app.router.calls import ModelCalls
from serve_app.router.channels import Parts
from serve_app.router.faults import internal_error
from serve_app.router.languages import Identification, LanguageCalls, Unrouted
from serve_app.router.results import FinishedRecord, Result
from serve_app.router.silence import without_silence
from serve_app.router.state import ActiveRecord, RouterState
from serve_app.router.traces import RecordTrace, record_traces
from serve_app.routing.plans import Answer, Decision, Failure, Query
from serve_app.routing.rules import Choice

logger = logging.getLogger(__name__)


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
        clips: Sequence[Recording] | None,
        options: CallOptions,
    ) -> None:
        self._state = state
        # decoded audio is of one channel already
        self._parts = Parts(records, state.settings.audio.channel if clips is None else None)
        self._clips = clips
        limit = options.max_no_speech_prob or state.settings.routing.max_no_speech_prob
        self._options = msgspec.structs.replace(options, max_no_speech_prob=limit, traces=None)
        self._traces = record_traces(options.traces)
        self._results: dict[int, Result] = {}
        self._under_way: dict[int, ActiveRecord] = {}
        self._calls = ModelCalls(
            state, answer=self._answer, after=self._check_done, fail=self._fail
        )
        self._languages = LanguageCalls(state, begin=self._begin_identified, fail=self._fail)
        self._reading = asyncio.TaskGroup()
        self._reads: list[asyncio.Task[None]] = []
        self._fault: BaseException | None = None
        self._done = asyncio.Event()
        self._started = perf_counter()

    async def run(self) -> list[Result]:
        """Transcribe the list: one result per record, in order. Cancelling it frees its audio."""
        results: list[Result] = []
        try:
            async with self._reading:
                self._start_reads(range(len(self._parts.records)))
            if self._fault is None:
                self._send_all()
            self._check_done()
            await self._done.wait()
            if self._fault is not None:
                raise self._fault
            results = self._parts.joined(self._results, self._state.results)
        finally:
            for place, trace in self._traces.items():
                trace.end(results[place] if results else None)
            self._calls.cancel()  # of a slow member, or all if this is cancelled
            for item in self._under_way.values():
                self._release(item.loaded)
            for waiting in self._languages.cancel():
                self._release(waiting.loaded)
        return results

    def _start_reads(self, places: range) -> None:
        """Have parts read, those of about half a minute together."""
        for some in portions(self._parts.records[places.start : places.stop]):
            read = self._read(places[some.start : some.stop])
            self._reads.append(self._reading.create_task(read))

    async def _read(self, indices: range) -> None:
        """Read the audio of some parts, and start their plans."""
        state = self._state
        records = self._parts.records[indices.start : indices.stop]
        options = [self._parts.options(index, self._options) for index in indices]
        frames = any(each.max_no_speech_prob is not None for each in options)
        load = partial(state.load_all, frames=frames)
        if self._clips is not None:  # nothing to read: no reader is needed
            clips = self._clips[indices.start : indices.stop]
            loaded = await asyncio.to_thread(load, records, clips)
            state.memory.take(_bytes(loaded))
        else:
            async with state.readers:
                await state.memory.wait_for_room()
                loaded = await asyncio.get_running_loop().run_in_executor(
                    state.threads, load, records
                )
                state.memory.take(_bytes(loaded))
        for index, record, each in zip(indices, records, loaded, strict=True):
            if isinstance(each, Exception):
                self._refuse(index, record, each)
                continue
            if trace := self._trace_of(index):
                trace.read(each.audio_ms)
            try:
                others = self._parts.add_others(index, each.recording, state.settings.audio)
                self._start_reads(others)
                waiting = Unrouted(index, record, each, options[index - indices.start])
                if not self._languages.add(waiting):
                    self._begin(waiting)
            except AudioError as error:
                state.memory.release(each.clip.nbytes)
                self._refuse(index, record, error)
            except Exception as error:
                self._give_up(index, record, each, error)
        if state.memory.full:
            # Records whose group is not full may hold the memory that the next readers wait for.
            self._send_all()

    def _send_all(self) -> None:
        self._languages.send()
        self._calls.send_all()

    def _refuse(self, index: int, record: ManifestRecord, error: Exception) -> None:
        code, message = audio_fault(error)
        logger.info("record %s: %s", record.id, code.value)
        self._results[index] = RecordError(id=record.id, code=code, message=message)

    def _trace_of(self, place: int) -> RecordTrace | None:
        return self._traces.get(self._parts.record_of(place)) if self._traces else None

    # -- plans --------------------------------------------------------------------------------

    def _begin(self, waiting: Unrouted, identified: Identification | None = None) -> None:
        """Choose the plan of a record, start it, and ask its first query.

        One whose language was asked for is urgent: the others of the list have been sent.
        """
        record, loaded, options = waiting.record, waiting.loaded, waiting.options
        if options.target is None:
            choice = self._state.selector.choose(record, loaded.measures)
        else:
            choice = Choice(options.target, REQUESTED)
        run = self._state.planner.run(choice.target, record)
        item = ActiveRecord(waiting.index, record, loaded, choice, run, options)
        item.trace = self._trace_of(waiting.index)
        if identified is not None:
            identified.note(item)
        query = next(run)
        self._under_way[waiting.index] = item
        self._ask(item, query, urgent=identified is not None)

    def _begin_identified(self, found: Sequence[tuple[Unrouted, Identification]]) -> None:
        for waiting, identified in found:
            try:
                self._begin(waiting, identified)
            except Exception as error:
                self._give_up(waiting.index, waiting.record, waiting.loaded, error)
        self._calls.send_urgent()
        self._check_done()

    def _give_up(
        self, index: int, record: ManifestRecord, loaded: Loaded, error: Exception
    ) -> None:
        """Note a fault of ours that a record brought out before its plan was running."""
        self._under_way.pop(index, None)
        self._release(loaded)
        self._results[index] = internal_error(record, error)

    def _ask(self, item: ActiveRecord, query: Query, *, urgent: bool = False) -> None:
        """Ask the models of `query`; a query of a plan that was resumed is urgent."""
        item.query, item.answers = query, {}
        if query.timeout_s is not None:
            self._set_timer(item, query.timeout_s)
        self._calls.add(item, query, urgent=urgent)

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
        self._calls.send_urgent()
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
            self._ask(item, query, urgent=True)

    def _finish(self, item: ActiveRecord, outcome: Decision | Failure) -> None:
        try:
            heard = outcome
            suppressed: list[Suppressed] = []
            speech, limit = item.loaded.speech, item.options.max_no_speech_prob
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
                    options=item.options,
                    models=item.models,
                    phrases=item.phrases,
                    arms=item.arms,
                    failed=item.failed,
                )
            )
        except Exception as error:
            result = internal_error(item.record, error)
        self._end(item, result)

    def _end(self, item: ActiveRecord, result: Result) -> None:
        self._results[item.index] = result
        if item.options.group is not None:
            for model in item.models:
                self._state.demand.heard(item.options.group, model, item.seconds)
        del self._under_way[item.index]
        self._release(item.loaded)

    def _fail(self, fault: BaseException) -> None:
        self._fault = fault
        self._done.set()
        for read in self._reads:  # they may wait for memory that is never freed
            read.cancel()

    def _check_done(self) -> None:
        if len(self._results) == len(self._parts.records):
            self._done.set()

    def _release(self, loaded: Loaded) -> None:
        self._state.memory.release(loaded.clip.nbytes)


def _bytes(loaded: Sequence[Loaded | Exception]) -> int:
    return sum(each.clip.nbytes for each in loaded if isinstance(each, Loaded))
