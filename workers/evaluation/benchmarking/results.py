"""The result of a benchmark: what was measured of each model."""

from __future__ import annotations

from typing import Literal

import msgspec

from workers.evaluation.results import Result
from workers.evaluation.statistics.scores import Score

#: What is measured: the bare engine, or the model as Ray Serve serves it.
PathName = Literal["engine", "serving"]


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """A rate measured over several passes.

    Attributes:
        median: median of the passes.
        lowest: rate of the slowest pass.
        highest: rate of the fastest pass.
        spread: `highest` minus `lowest`, in percent of the median.
    """

    median: float
    lowest: float
    highest: float
    spread: float


class PathResult(msgspec.Struct, frozen=True, kw_only=True):
    """One model measured on one path.

    Attributes:
        path: "engine" or "serving".
        device: "cpu" or "cuda".
        rtfx: seconds of audio divided by seconds of processing.
        samples_per_second: utterances divided by seconds of processing.
        latency_ms: latency of an utterance that is sent alone, by percentile ("p50", "p90", ...).
        load_seconds: time from the start until the model is ready.
        host_memory_gb: peak host memory in GiB, see
            `workers.evaluation.benchmarking.measure.Measurement`.
        gpu_memory_gb: peak GPU memory in GiB, likewise; None for "serving".
        harness_percent: share of the passes' time that was spent outside the engine, in percent;
            None for "serving".
        score: accuracy.
    """

    path: PathName
    device: str
    rtfx: Rate
    samples_per_second: Rate
    latency_ms: dict[str, float]
    load_seconds: float
    host_memory_gb: float
    gpu_memory_gb: float | None
    harness_percent: float | None
    score: Score


class ModelResult(msgspec.Struct, frozen=True, kw_only=True):
    """The measurements of one model.

    Attributes:
        name: display name of the model.
        domain: what the model is for.
        sha256: digest of the model file.
        batch_seconds: seconds of padded audio per batch, see `ModelSettings`.
        threads: CPU threads of the model.
        dtype: precision, see `ModelSettings`.
        paths: one result for each measured path.
        text_rules: name of the text rules of the settings that its texts are written by.
    """

    name: str
    domain: str
    sha256: str
    batch_seconds: float
    threads: int
    dtype: str
    paths: list[PathResult]
    text_rules: str | None = None


class Benchmark(Result):
    """Result of `benchmark`.

    Attributes:
        made: time of the benchmark: UTC, ISO 8601.
        machine: processor, cores, GPU.
        protocol: how the figures were measured.
        normaliser: name of the text normalisation, see `serve_app.scoring.wer`.
        repeats: number of timed passes.
        test_set: name of the test set.
        utterances: number of utterances in the test set.
        seconds: total duration of the test set, in seconds.
        longest: duration of its longest utterance, in seconds.
        models: the measurements, one entry per model.
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
