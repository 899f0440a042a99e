"""Measure one model on one path in a new process: `python -m ...measure JOB RESULT`.

Each measurement gets its own process, so that memory and load time are those of the model, and the
threads, caches and memory fragmentation of one model do not affect the next.
"""

from __future__ import annotations

import asyncio
import math
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec
import psutil
from numpy.random import default_rng

from schemas.channels import one_channel
from schemas.failures import RecordError
from schemas.manifest import ManifestRecord
from schemas.requests import DEFAULT_REQUEST
from schemas.settings import AudioSettings, ModelSettings, Routing, ServeSettings, Settings
from schemas.text_rules import TextRules, compile_text_rules
from serve_app.engines.base import Hypothesis
from serve_app.engines.calling import call_isolated
from serve_app.engines.errors import EngineError
from serve_app.engines.load import check_engine, load_engine
from serve_app.system.tracebacks import message_of
from workers.evaluation.benchmarking.results import PathName
from workers.evaluation.systems.recognition import gpu_memory_gb
from workers.manifests.speech import Utterance, read_audio

if TYPE_CHECKING:
    from serve_app.router.client import RouterClient

#: Utterances per call, as in a batch from Kafka, see `StreamSettings.batch_records`.
CALL_RECORDS = 128
#: Concurrent calls of the Router, see `StreamSettings.batches_in_flight`.
IN_FLIGHT = 4
#: Shortest pass, in seconds: a small set is repeated until clock and scheduler hardly matter.
MIN_PASS_S = 2.0


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure.

    Attributes:
        path: "engine" is the bare engine on decoded clips; "serving" is the whole path from a
            record's file name through the Router and a replica on Ray Serve to a transcript.
        settings: the model.
        rules: text rules that its texts are written by, outside the timing of the engine.
        records: the utterances.
        repeats: number of timed passes, after an untimed one.
        latency_clips: number of utterances to send one at a time, for the latency.
    """

    path: PathName
    settings: ModelSettings
    rules: TextRules | None = None
    records: list[ManifestRecord]
    repeats: int
    latency_clips: int


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a `Job`.

    Attributes:
        sha256: digest of the model file.
        device: "cpu" or "cuda".
        load_seconds: time until the model, or the application, is ready, once Python is running.
        seconds: wall time of each pass, scaled to one run over the test set.
        harness_percent: share of the passes' time that was not spent in the engine, in percent;
            None for "serving", where the two cannot be separated.
        latencies_ms: latency of single utterances.
        host_memory_gb: peak resident memory of the process in GiB; for "serving", the memory of all
            its processes after the last pass, with shared pages counted once.
        gpu_memory_gb: peak memory of tensors in GiB; None for "serving", whose tensors are in other
            processes.
        texts: transcript of each utterance; None where the model gave none.
    """

    sha256: str
    device: str
    load_seconds: float
    seconds: list[float]
    harness_percent: float | None
    latencies_ms: list[float]
    host_memory_gb: float
    gpu_memory_gb: float | None
    texts: list[str | None]


def measure(job: Job) -> Measurement:
    """Run the job in a new process, and wait for it.

    Raises:
        EngineError: the process failed; the message is that of its exception.
    """
    with TemporaryDirectory(prefix="chorus-benchmark-") as folder:
        todo, done = Path(folder, "job.json"), Path(folder, "result.json")
        todo.write_bytes(msgspec.json.encode(job))
        command = [
            sys.executable,
            "-m",
            "workers.evaluation.benchmarking.measure",
            f"{todo}",
            f"{done}",
        ]
        process = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if process.returncode or not done.exists():
            reason = message_of(process.stderr.decode(errors="replace"))
            reason = reason or f"exit code {process.returncode}"
            raise EngineError(f"the benchmark process failed: {reason}")
        return msgspec.json.decode(done.read_bytes(), type=Measurement)


def measure_engine(job: Job) -> Measurement:
    """Measure the bare engine, in this process."""
    begin = time.perf_counter()
    engine = load_engine(job.settings)
    check_engine(engine)
    load_seconds = time.perf_counter() - begin
    clips = [read_audio(_utterance(each), engine.sample_rate) for each in job.records]
    inside = 0.0

    def one_pass() -> list[str | None]:
        nonlocal inside
        texts: list[str | None] = []
        for start in range(0, len(clips), CALL_RECORDS):
            some = clips[start : start + CALL_RECORDS]
            called = time.perf_counter()
            results = call_isolated(engine, some, [DEFAULT_REQUEST] * len(some))
            inside += time.perf_counter() - called
            texts += [each.text if isinstance(each, Hypothesis) else None for each in results]
        return texts

    begin = time.perf_counter()
    texts = one_pass()
    times = _times(time.perf_counter() - begin)
    inside = total = 0.0
    seconds = []
    for _ in range(job.repeats):
        begin = time.perf_counter()
        for _ in range(times):
            one_pass()
        total += time.perf_counter() - begin
        seconds.append((time.perf_counter() - begin) / times)
    latencies = []
    for index in _drawn(job):
        begin = time.perf_counter()
        call_isolated(engine, [clips[index]], [DEFAULT_REQUEST])
        latencies.append(1000 * (time.perf_counter() - begin))
    return Measurement(
        sha256=engine.sha256,
        device=engine.device,
        load_seconds=round(load_seconds, 3),
        seconds=seconds,
        harness_percent=100 * (total - inside) / total,
        latencies_ms=latencies,
        host_memory_gb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3),
        gpu_memory_gb=round(gpu_memory_gb(), 3),
        texts=_written(texts, job.rules),
    )


def _written(texts: list[str | None], rules: TextRules | None) -> list[str | None]:
    write = compile_text_rules(rules) if rules is not None else None
    return [write(text) if write and text is not None else text for text in texts]


def measure_serving(job: Job) -> Measurement:
    """Measure the whole serving path, on a Ray cluster that is started for it."""
    from serve_app.cluster import application
    from serve_app.router.client import RouterClient

    rules = {"rules": job.rules} if job.rules is not None else {}
    model = msgspec.structs.replace(
        job.settings, num_cpus=0.1, text_rules="rules" if rules else None
    )
    settings = Settings(
        models={"model": model},
        text_rules=rules,
        routing=Routing(default="model"),
        audio=AudioSettings(roots=["/"]),
        serve=ServeSettings(router_num_cpus=0.1),
    )
    begin = time.perf_counter()
    running = application.start(settings)
    load_seconds = time.perf_counter() - begin
    try:
        return asyncio.run(_measure_router(job, RouterClient(running.app), load_seconds))
    finally:
        application.stop(running)


async def _measure_router(job: Job, router: RouterClient, load_seconds: float) -> Measurement:
    (info,) = (await router.info()).values()

    async def one_pass() -> list[str | None]:
        """Transcribe all records, with at most `IN_FLIGHT` concurrent calls."""
        starts = range(0, len(job.records), CALL_RECORDS)
        lists = [job.records[start : start + CALL_RECORDS] for start in starts]
        slots = asyncio.Semaphore(IN_FLIGHT)

        async def call(records: list[ManifestRecord]) -> list[str | None]:
            async with slots:
                results = await router.transcribe(records)
            return [None if isinstance(r, RecordError) else r.pred_text for r in results]

        return [text for texts in await asyncio.gather(*map(call, lists)) for text in texts]

    begin = time.perf_counter()
    texts = await one_pass()
    times = _times(time.perf_counter() - begin)
    seconds = []
    for _ in range(job.repeats):
        begin = time.perf_counter()
        for _ in range(times):
            await one_pass()
        seconds.append((time.perf_counter() - begin) / times)
    latencies = []
    for index in _drawn(job):
        begin = time.perf_counter()
        await router.transcribe([job.records[index]])
        latencies.append(1000 * (time.perf_counter() - begin))
    return Measurement(
        sha256=info.sha256,
        device=info.device,
        load_seconds=round(load_seconds, 3),
        seconds=seconds,
        harness_percent=None,
        latencies_ms=latencies,
        host_memory_gb=_tree_memory(),
        gpu_memory_gb=None,
        texts=texts,
    )


def _times(seconds: float) -> int:
    """How often a pass repeats a test set that takes `seconds` once."""
    return max(1, math.ceil(MIN_PASS_S / seconds))


def _drawn(job: Job) -> list[int]:
    """Indices of the utterances for the latency: drawn at random, with a fixed seed."""
    order = default_rng(0).permutation(len(job.records))
    return [int(index) for index in order[: job.latency_clips]]


def _utterance(record: ManifestRecord) -> Utterance:
    seconds = record.duration or 0.0
    return Utterance(
        record.audio_filepath, record.offset, seconds, "", channel=one_channel(record.channel)
    )


def _tree_memory() -> float:
    """Memory of this process and all its descendants in GiB, shared pages counted once."""
    total = 0
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return round(total / 2**30, 3)


def _main(todo: str, done: str) -> None:
    job = msgspec.json.decode(Path(todo).read_bytes(), type=Job)
    measured = measure_engine(job) if job.path == "engine" else measure_serving(job)
    Path(done).write_bytes(msgspec.json.encode(measured))


if __name__ == "__main__":
    _main(*sys.argv[1:])
