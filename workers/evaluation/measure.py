"""`python -m workers.evaluation.measure JOB RESULT`: one model, one way, in a process of its own.

A fresh process for each, so that memory and load time are the model's own, and one model's threads,
caches and fragmentation are not another's.
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
from typing import TYPE_CHECKING, Literal

import msgspec
import psutil
from numpy.random import default_rng

from schemas.failures import RecordError
from schemas.manifest import ManifestRecord
from schemas.settings import AudioSettings, ModelSettings, Routing, ServeSettings, Settings
from serve_app.engines.base import Hypothesis
from serve_app.engines.errors import EngineError
from serve_app.engines.load import check_engine, load_engine
from workers.evaluation.recognition import gpu_memory_gb
from workers.speech import Utterance, read_audio

if TYPE_CHECKING:
    from serve_app.router_client import RouterClient

#: Utterances in one call: what a Kafka batch would bring, see `StreamSettings.batch_records`.
CALL = 128
#: Calls of the Router at once, see `StreamSettings.batches_in_flight`.
IN_FLIGHT = 4
#: A shorter pass measures the clock and the scheduler: a small set is gone through several times.
MIN_PASS_S = 2.0


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure.

    Attributes:
        path: "engine" is the bare engine on decoded clips; "serving" the whole way from a record's
            file name through Ray Serve's Router and a replica to a transcript.
        records: the utterances.
        repeats: timed passes, after one that is not timed.
        latency_clips: utterances that are sent one at a time, each when the one before is done.
    """

    path: Literal["engine", "serving"]
    settings: ModelSettings
    records: list[ManifestRecord]
    repeats: int
    latency_clips: int


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured.

    Attributes:
        load_seconds: from nothing (Python is up) to a model, or an application, that is ready.
        seconds: wall time of each pass, for one time through the set.
        harness_percent: of the time of the passes, what was not spent in the engine; None for
            "serving", where it cannot be told from the way itself.
        latencies_ms: of single utterances.
        host_memory_gb: peak resident memory of the process; for "serving" the memory of all its
            processes after the last pass (shared pages once).
        gpu_memory_gb: peak of tensors; None for "serving", whose tensors are in other processes.
        texts: of each utterance; None where there is none.
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


def measure(job: Job) -> Measured:
    """Run the job in a new process, and wait for it.

    Raises:
        EngineError: it failed; the message is the last line that it wrote.
    """
    with TemporaryDirectory(prefix="chorus-benchmark-") as folder:
        todo, done = Path(folder, "job.json"), Path(folder, "result.json")
        todo.write_bytes(msgspec.json.encode(job))
        command = [sys.executable, "-m", "workers.evaluation.measure", f"{todo}", f"{done}"]
        process = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if process.returncode or not done.exists():
            lines = process.stderr.decode(errors="replace").strip().splitlines()
            reason = lines[-1] if lines else f"it ended with {process.returncode}"
            raise EngineError(f"the benchmark's process failed: {reason}")
        return msgspec.json.decode(done.read_bytes(), type=Measured)


def measure_engine(job: Job) -> Measured:
    """The bare engine, in this process."""
    begin = time.perf_counter()
    engine = load_engine(job.settings)
    check_engine(engine)
    load_seconds = time.perf_counter() - begin
    clips = [read_audio(_utterance(each), engine.sample_rate) for each in job.records]
    inside = 0.0

    def through() -> list[str | None]:
        nonlocal inside
        texts: list[str | None] = []
        for start in range(0, len(clips), CALL):
            called = time.perf_counter()
            results = engine.transcribe(clips[start : start + CALL])
            inside += time.perf_counter() - called
            texts += [each.text if isinstance(each, Hypothesis) else None for each in results]
        return texts

    begin = time.perf_counter()
    texts = through()
    times = _times(time.perf_counter() - begin)
    inside = total = 0.0
    seconds = []
    for _ in range(job.repeats):
        begin = time.perf_counter()
        for _ in range(times):
            through()
        total += time.perf_counter() - begin
        seconds.append((time.perf_counter() - begin) / times)
    latencies = []
    for index in _drawn(job):
        begin = time.perf_counter()
        engine.transcribe([clips[index]])
        latencies.append(1000 * (time.perf_counter() - begin))
    return Measured(
        sha256=engine.sha256,
        device=engine.device,
        load_seconds=round(load_seconds, 3),
        seconds=seconds,
        harness_percent=100 * (total - inside) / total,
        latencies_ms=latencies,
        host_memory_gb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3),
        gpu_memory_gb=round(gpu_memory_gb(), 3),
        texts=texts,
    )


def measure_serving(job: Job) -> Measured:
    """The whole serving path, on a Ray cluster of its own."""
    from serve_app import app
    from serve_app.router_client import RouterClient

    settings = Settings(
        models={"model": msgspec.structs.replace(job.settings, num_cpus=0.1)},
        routing=Routing(default="model"),
        audio=AudioSettings(roots=["/"]),
        serve=ServeSettings(router_num_cpus=0.1),
    )
    begin = time.perf_counter()
    running = app.start(settings)
    load_seconds = time.perf_counter() - begin
    try:
        return asyncio.run(_measure_router(job, RouterClient(running.app), load_seconds))
    finally:
        app.stop(running)


async def _measure_router(job: Job, router: RouterClient, load_seconds: float) -> Measured:
    (info,) = (await router.info()).values()

    async def through() -> list[str | None]:
        """All records, `IN_FLIGHT` lists at a time."""
        lists = [job.records[i : i + CALL] for i in range(0, len(job.records), CALL)]
        places = asyncio.Semaphore(IN_FLIGHT)

        async def call(records: list[ManifestRecord]) -> list[str | None]:
            async with places:
                results = await router.transcribe(records)
            return [None if isinstance(r, RecordError) else r.pred_text for r in results]

        return [text for texts in await asyncio.gather(*map(call, lists)) for text in texts]

    begin = time.perf_counter()
    texts = await through()
    times = _times(time.perf_counter() - begin)
    seconds = []
    for _ in range(job.repeats):
        begin = time.perf_counter()
        for _ in range(times):
            await through()
        seconds.append((time.perf_counter() - begin) / times)
    latencies = []
    for index in _drawn(job):
        begin = time.perf_counter()
        await router.transcribe([job.records[index]])
        latencies.append(1000 * (time.perf_counter() - begin))
    return Measured(
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
    """How often to go through a set that takes so long once, for a pass."""
    return max(1, math.ceil(MIN_PASS_S / seconds))


def _drawn(job: Job) -> list[int]:
    """Indices of the utterances for the latency, the same ones each time."""
    order = default_rng(0).permutation(len(job.records))
    return [int(index) for index in order[: job.latency_clips]]


def _utterance(record: ManifestRecord) -> Utterance:
    return Utterance(record.audio_filepath, record.offset, record.duration or 0.0, "")


def _tree_memory() -> float:
    """Memory of this process and all its children in GiB, shared pages counted once."""
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
