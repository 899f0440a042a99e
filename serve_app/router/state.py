"""What the jobs of one Router share, and the record that a plan works on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import perf_counter

from schemas.manifest import ManifestRecord
from schemas.requests import CallOptions
from schemas.settings import Settings
from schemas.transcript import Timings
from serve_app.audio.clip import Clip
from serve_app.audio.memory import AudioMemory
from serve_app.audio.reading import Loaded
from serve_app.model.protocol import Model
from serve_app.router.candidates import Candidates
from serve_app.router.demand import StreamDemand
from serve_app.router.results import ResultMaker
from serve_app.router.traces import RecordTrace
from serve_app.routing.plans import Answer, Planner, PlanRun, Query
from serve_app.routing.rules import Choice, Selector

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
        candidates: that are compared with models.
        demand: counts what streams ask of the models.
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
    candidates: Candidates
    demand: StreamDemand = field(default_factory=StreamDemand)


@dataclass(eq=False)
class ActiveRecord:
    """A record whose audio is read and whose plan is running.

    Attributes:
        index: its place in the list.
        record: the record.
        loaded: its audio and measures.
        choice: the target that was chosen, and why.
        run: its plan.
        options: of the call, for this record.
        query: what the plan waits for; answers to an earlier query are ignored.
        answers: the answers to `query` so far, by model.
        timers: of `query`.
        queue_ms: time in the queue, by model.
        model_ms: time in the model, by model.
        models: digest of the model file, and the version, by model.
        phrases: how many of the record's phrases each model used.
        arms: which version was asked, by model, where a rollout is under way.
        failed: error codes of models that gave no answer before the plan began, by model.
        trace: its spans, if its trace is sampled.
    """

    index: int
    record: ManifestRecord
    loaded: Loaded
    choice: Choice
    run: PlanRun
    options: CallOptions
    query: Query = NO_QUERY
    answers: dict[str, Answer] = field(default_factory=dict)
    timers: list[asyncio.TimerHandle] = field(default_factory=list)
    queue_ms: dict[str, float] = field(default_factory=dict)
    model_ms: dict[str, float] = field(default_factory=dict)
    models: dict[str, tuple[str, str]] = field(default_factory=dict)
    phrases: dict[str, int] = field(default_factory=dict)
    arms: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    trace: RecordTrace | None = None

    @property
    def clip(self) -> Clip:
        """The audio of the record."""
        return self.loaded.clip

    @property
    def seconds(self) -> float:
        """Length of the audio in seconds."""
        return float(self.loaded.measures["audio.seconds"])

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
