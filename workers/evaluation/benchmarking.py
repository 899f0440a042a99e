"""How fast, how large, how accurate: models measured one by one, each in a process of its own."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import torch
from msgspec.structs import replace

from schemas.manifest import ManifestRecord
from schemas.settings import ModelSettings
from serve_app.wer import NORMALISER
from workers.evaluation.journal import Journal
from workers.evaluation.measure import Job, Measured, measure
from workers.evaluation.naming import Known, Named, as_systems
from workers.evaluation.recognition import slug
from workers.evaluation.results import Result
from workers.evaluation.scores import Score, pool, score_utterance
from workers.evaluation.systems import ModelSystem
from workers.evaluation.testset import TestSet, read_test_set

REPEATS = 5
#: Utterances that are sent one by one for the latency.
LATENCY_CLIPS = 100
LATENCY_PERCENTILES = (50, 90, 95, 99)

#: What the figures of the bare engine follow.
PROTOCOL = (
    "Engine: as the Open ASR Leaderboard measures RTFx (Srivastav et al., 2025): audio decoded "
    "ahead; features, network and decoding timed; one pass before that is not timed; the same "
    "decoding for all models; RTFx is seconds of audio by seconds of work. Serving: the same "
    "utterances by file name through Ray Serve, reading and decoding of the files included. "
    "Rates are the median of the passes."
)

Way = Literal["engine", "serving"]


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """A rate over the passes.

    Attributes:
        median, lowest, highest: of the passes.
        spread: highest less lowest, in percent of the median.
    """

    median: float
    lowest: float
    highest: float
    spread: float


class PathResult(msgspec.Struct, frozen=True, kw_only=True):
    """One model, one way.

    Attributes:
        path: "engine" or "serving".
        device: "cpu" or "cuda".
        rtfx: seconds of audio by seconds of work.
        samples_per_second: utterances by seconds of work.
        latency_ms: of an utterance that is sent alone, by percentile ("p50", "p90", ...).
        load_seconds: from nothing to ready.
        host_memory_gb, gpu_memory_gb: peak, see `workers.evaluation.measure.Measured`.
        harness_percent: of the time of the passes, what was spent outside the engine; None for
            "serving".
        score: accuracy.
    """

    path: Way
    device: str
    rtfx: Rate
    samples_per_second: Rate
    latency_ms: dict[str, float]
    load_seconds: float
    host_memory_gb: float
    gpu_memory_gb: float | None
    harness_percent: float | None
    score: Score


class _Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a finished measurement."""

    sha256: str
    result: PathResult


class ModelResult(msgspec.Struct, frozen=True, kw_only=True):
    """One model.

    Attributes:
        batch_seconds, threads, dtype: what it ran with, see `ModelSettings`.
        paths: by each way that was measured.
    """

    name: str
    domain: str
    sha256: str
    batch_seconds: float
    threads: int
    dtype: str
    paths: list[PathResult]


class Benchmark(Result):
    """What `benchmark` found.

    Attributes:
        made: UTC, ISO 8601.
        machine: processor, cores, GPU.
        protocol: how the figures were taken.
        repeats: timed passes.
        utterances, seconds, longest: of the test set; durations in seconds.
    """

    made: str
    machine: str
    protocol: str
    normaliser: str
    repeats: int
    test_set: str
    utterances: int
    seconds: float
    longest: float
    models: list[ModelResult]


def benchmark(
    models: Sequence[Named],
    manifest: str | Path | TestSet,
    *,
    settings: Known | None = None,
    paths: Sequence[Way] = ("engine", "serving"),
    repeats: int = REPEATS,
    threads: int | None = None,
    batch_seconds: float | None = None,
    latency_clips: int = LATENCY_CLIPS,
    folder: str | Path | None = None,
    skip_faults: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Benchmark:
    """Measure models on a test set. Blocks while they run; let nothing else run beside it.

    Args:
        models, manifest, settings, skip_faults: as in `workers.evaluation.comparison.compare`;
            only models of files, hubs and settings, which a new process can load.
        paths: ways to measure.
        repeats: timed passes through the set.
        threads: of each model on a CPU; the settings' unless given, one for a file. More are of
            use only where nothing else runs.
        batch_seconds: padded seconds in a batch; the settings' unless given.
        latency_clips: utterances that are sent one by one.
        folder: finished measurements are kept there, and not done again after a kill.
        say: told what is being done.

    Raises:
        ManifestFaultsError: the manifest has faults; it lists them all.
        ValueError: a model does not exist, or is one that a new process cannot load.
        EngineError: a measurement failed; those before it are in `folder`.
        OSError: a file cannot be read or written.
    """
    if isinstance(manifest, TestSet):
        test_set = manifest
    else:
        test_set = read_test_set(manifest, skip_faults=skip_faults)
    results = []
    for system in as_systems(models, settings):
        if not isinstance(system, ModelSystem):
            raise ValueError(f"{system.name}: only models of files or settings are benchmarked")
        tuned = _tuned(system, threads, batch_seconds)
        done = _journal(folder, tuned, test_set, [repeats, latency_clips])
        finished = {each.result.path: each for each in done.rows}
        for path in paths:
            if path in finished:
                say(f"{tuned.name}: {path} was measured before")
                continue
            say(f"{tuned.name}: measuring the {path} path")
            finished[path] = _measure(path, tuned.settings, test_set, repeats, latency_clips)
            done.append([finished[path]])
        results.append(_model_result(tuned, [finished[path] for path in paths]))
    return Benchmark(
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine(),
        protocol=PROTOCOL,
        normaliser=NORMALISER,
        repeats=repeats,
        test_set=test_set.name,
        utterances=len(test_set.utterances),
        seconds=round(test_set.seconds, 2),
        longest=round(max(each.duration for each in test_set.utterances), 2),
        models=results,
    )


def machine() -> str:
    """Processor, cores, and GPU where there is one."""
    processor = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    parts = [f"{processor}, {cores()} cores"]
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return ", ".join(parts)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _tuned(system: ModelSystem, threads: int | None, batch_seconds: float | None) -> ModelSystem:
    settings = system.settings
    if threads is not None:
        settings = replace(settings, threads=threads)
    if batch_seconds is not None:
        settings = replace(settings, batch_seconds=batch_seconds)
    return ModelSystem(system.name, settings, domain=system.domain)


def _journal(
    folder: str | Path | None, system: ModelSystem, test_set: TestSet, protocol: list[int]
) -> Journal[_Measurement]:
    """Measurements of this model, with these options, on this test set."""
    identity = [system.identity, test_set.sha256, protocol]
    name = f"benchmark-{slug(system.name, identity)}.jsonl"
    return Journal(Path(folder, name) if folder else None, _Measurement)


def _measure(
    path: Way, settings: ModelSettings, test_set: TestSet, repeats: int, latency_clips: int
) -> _Measurement:
    records = [
        ManifestRecord(
            id=each.id, audio_filepath=each.path, offset=each.offset, duration=each.duration
        )
        for each in test_set.utterances
    ]
    job = Job(
        path=path, settings=settings, records=records, repeats=repeats, latency_clips=latency_clips
    )
    measured = measure(job)
    return _Measurement(sha256=measured.sha256, result=_path_result(path, measured, test_set))


def _path_result(path: Way, measured: Measured, test_set: TestSet) -> PathResult:
    utterances = test_set.utterances
    scores = [
        score_utterance(each.text, text) if each.has_text else None
        for each, text in zip(utterances, measured.texts, strict=True)
    ]
    harness = measured.harness_percent
    latencies = np.percentile(measured.latencies_ms or [np.nan], LATENCY_PERCENTILES)
    return PathResult(
        path=path,
        device=measured.device,
        rtfx=_rate(test_set.seconds, measured.seconds),
        samples_per_second=_rate(len(utterances), measured.seconds),
        latency_ms={
            f"p{percent}": round(float(value), 2)
            for percent, value in zip(LATENCY_PERCENTILES, latencies, strict=True)
            if measured.latencies_ms
        },
        load_seconds=measured.load_seconds,
        host_memory_gb=measured.host_memory_gb,
        gpu_memory_gb=measured.gpu_memory_gb,
        harness_percent=None if harness is None else round(harness, 4),
        score=pool(scores),
    )


def _rate(amount: float, seconds: Sequence[float]) -> Rate:
    rates = sorted(amount / each for each in seconds)
    median = float(np.median(rates))
    return Rate(
        median=round(median, 2),
        lowest=round(rates[0], 2),
        highest=round(rates[-1], 2),
        spread=round(100 * (rates[-1] - rates[0]) / median, 2),
    )


def _model_result(system: ModelSystem, measurements: Sequence[_Measurement]) -> ModelResult:
    settings = system.settings
    return ModelResult(
        name=system.name,
        domain=system.domain,
        sha256=measurements[0].sha256 if measurements else "",
        batch_seconds=settings.batch_seconds,
        threads=settings.threads or max(1, int(settings.num_cpus)),
        dtype=settings.dtype,
        paths=[each.result for each in measurements],
    )
