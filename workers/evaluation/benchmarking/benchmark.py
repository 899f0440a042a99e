"""Benchmark models for speed, memory and accuracy, each measurement in its own process."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import torch
from msgspec.structs import replace

from schemas.manifest import ManifestRecord
from serve_app.scoring.wer import NORMALISER, Normaliser
from workers.evaluation.benchmarking.measure import Job, Measurement, measure
from workers.evaluation.benchmarking.results import (
    Benchmark,
    ModelResult,
    PathName,
    PathResult,
    Rate,
)
from workers.evaluation.statistics.scores import pool, score_utterance
from workers.evaluation.systems.base import ModelSystem
from workers.evaluation.systems.journal import Journal
from workers.evaluation.systems.naming import SettingsLike, SystemLike, as_systems, roots_of
from workers.evaluation.systems.recognition import slug
from workers.evaluation.testset import TestSet, read_test_set

REPEATS = 5
#: Utterances that are transcribed one at a time to measure latency.
LATENCY_CLIPS = 100
LATENCY_PERCENTILES = (50, 90, 95, 99)

#: How the figures are measured; printed with them.
PROTOCOL = (
    "Engine: RTFx as the Open ASR Leaderboard measures it (Srivastav et al., 2025): audio is "
    "decoded beforehand; features, network and decoding are timed, after one untimed pass; all "
    "models use the same decoding; RTFx is seconds of audio divided by seconds of processing. "
    "Serving: the same utterances by file name through Ray Serve, with reading and decoding of "
    "the files. Rates are the median of the passes."
)


class _Finished(msgspec.Struct, frozen=True, kw_only=True):
    """A finished measurement, as it is kept in the folder of intermediate results."""

    sha256: str
    result: PathResult


def benchmark(
    models: Sequence[SystemLike],
    manifest: str | Path | TestSet,
    *,
    settings: SettingsLike | None = None,
    paths: Sequence[PathName] = ("engine", "serving"),
    repeats: int = REPEATS,
    threads: int | None = None,
    batch_seconds: float | None = None,
    latency_clips: int = LATENCY_CLIPS,
    folder: str | Path | None = None,
    skip_faults: bool = False,
    normaliser: Normaliser = NORMALISER,
    say: Callable[[str], None] = lambda _: None,
) -> Benchmark:
    """Measure models on a test set. Blocks; run nothing else on the machine meanwhile.

    Args:
        models: as in `workers.evaluation.compare`, but only models of files, hubs and settings,
            which a new process can load.
        manifest: NeMo manifest, or a test set that has been read.
        settings: models by name, as in `workers.evaluation.compare`.
        paths: what to measure: the bare engine, the model as served, or both.
        repeats: number of timed passes over the test set.
        threads: CPU threads of each model; unless given, as in the settings, or one for a file.
        batch_seconds: seconds of padded audio per batch; unless given, as in the settings.
        latency_clips: number of utterances to transcribe one at a time, for the latency.
        folder: where finished measurements are kept, so that an interrupted call can resume.
        skip_faults: leave out invalid lines of a manifest, instead of raising.
        normaliser: makes texts comparable before errors are counted, see `serve_app.scoring.wer`.
        say: called with a line of text before each step.

    Raises:
        ManifestFaultsError: the manifest has invalid lines; it lists them all.
        ValueError: a model does not exist, or is one that a new process cannot load.
        EngineError: a measurement failed; earlier ones are in `folder`.
        OSError: a file cannot be read or written.
    """
    if isinstance(manifest, TestSet):
        test_set = manifest
    else:
        test_set = read_test_set(manifest, skip_faults=skip_faults, roots=roots_of(settings))
    results = []
    for system in as_systems(models, settings):
        if not isinstance(system, ModelSystem):
            raise ValueError(
                f"{system.name}: only models of files or settings can be benchmarked, not plans"
            )
        tuned = _tuned(system, threads, batch_seconds)
        done = _journal(folder, tuned, test_set, [repeats, latency_clips, normaliser])
        finished = {each.result.path: each for each in done.rows}
        for path in paths:
            if path in finished:
                say(f"{tuned.name}: the {path} path was measured before")
                continue
            say(f"{tuned.name}: measuring the {path} path")
            job = _job(path, tuned, test_set, repeats, latency_clips)
            finished[path] = _measure(job, test_set, normaliser)
            done.append([finished[path]])
        results.append(_model_result(tuned, [finished[path] for path in paths]))
    return Benchmark(
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine(),
        protocol=PROTOCOL,
        normaliser=normaliser,
        repeats=repeats,
        test_set=test_set.name,
        utterances=len(test_set.utterances),
        seconds=round(test_set.seconds, 2),
        longest=round(max(each.duration for each in test_set.utterances), 2),
        models=results,
    )


def machine() -> str:
    """Describe this machine: processor, cores, and GPU if there is one."""
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
    """Count the CPU cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _tuned(system: ModelSystem, threads: int | None, batch_seconds: float | None) -> ModelSystem:
    settings = system.settings
    if threads is not None:
        settings = replace(settings, threads=threads)
    if batch_seconds is not None:
        settings = replace(settings, batch_seconds=batch_seconds)
    return ModelSystem(system.name, settings, domain=system.domain, rules=system.rules)


def _journal(
    folder: str | Path | None, system: ModelSystem, test_set: TestSet, protocol: list[int | str]
) -> Journal[_Finished]:
    """The finished measurements of this model, with these options, on this test set."""
    identity = [system.identity, *test_set.identity, protocol]
    name = f"benchmark-{slug(system.name, identity)}.jsonl"
    return Journal(Path(folder, name) if folder else None, _Finished)


def _job(
    path: PathName, system: ModelSystem, test_set: TestSet, repeats: int, latency_clips: int
) -> Job:
    records = [
        ManifestRecord(
            id=each.id,
            audio_filepath=each.path,
            offset=each.offset,
            duration=each.duration,
            channel=each.channel,
        )
        for each in test_set.utterances
    ]
    return Job(
        path=path,
        settings=system.settings,
        rules=system.rules,
        records=records,
        repeats=repeats,
        latency_clips=latency_clips,
    )


def _measure(job: Job, test_set: TestSet, normaliser: Normaliser) -> _Finished:
    measured = measure(job)
    result = _path_result(job.path, measured, test_set, normaliser)
    return _Finished(sha256=measured.sha256, result=result)


def _path_result(
    path: PathName, measured: Measurement, test_set: TestSet, normaliser: Normaliser
) -> PathResult:
    utterances = test_set.utterances
    scores = [
        score_utterance(each.text, text, normaliser, lang=each.lang) if each.has_text else None
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


def _model_result(system: ModelSystem, measurements: Sequence[_Finished]) -> ModelResult:
    settings = system.settings
    return ModelResult(
        name=system.name,
        domain=system.domain,
        sha256=measurements[0].sha256 if measurements else "",
        batch_seconds=settings.batch_seconds,
        threads=settings.threads or max(1, int(settings.num_cpus)),
        dtype=settings.dtype,
        paths=[each.result for each in measurements],
        text_rules=settings.text_rules if system.rules else None,
    )
