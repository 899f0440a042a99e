"""Speed, as ratios measured in one run on one machine.

- `kafka_over_engine`: records per second from topic to topic, over the bare engine's on the same
  clips with the same threads. The engine gets its clips decoded; the stream reads and decodes
  files, routes, transcribes, scores and commits.
- `overhead_cpu_ms`: CPU-ms a record of everything but the model: all processes of the run, less
  what the bare engine needs for the same clips. `parts` says where it goes.
- `engine_over_transcribe`: the engine over NeMo's own `transcribe()`, clips of mixed length.
- `cold_start_s`: from the command to the first committed transcript, five models, nothing running.

The bare engine is measured before and after the stream, so that a machine that grows slower or
faster meanwhile does not pass for a result.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import yaml
from rich.console import Console

from deploy.local import LocalStack
from schemas.manifest import ManifestRecord, encode_manifest
from schemas.settings import AudioSettings, ModelSettings, Settings
from tests.scenarios.speech import SPEECH, many_records, shipped_records
from workers.stream.clients import make_producer
from workers.topic_reader import read_topic

DEMO = SPEECH.parent
MODEL = DEMO / "models" / "general.nemo"
#: `transcribe()` takes lists of a size; ours cuts by seconds. The common choice for short clips.
TRANSCRIBE_BATCH = 16

console = Console(stderr=True, highlight=False)


# -- the engine alone, in a process of its own ------------------------------------------------


def engine_main(threads: int, clips: int, compare: bool) -> dict[str, float]:
    """Rates of the bare engine and, with `compare`, of `transcribe()`; medians of rounds."""
    from serve_app.audio import AudioLoader
    from serve_app.engines.load import load_engine

    settings = ModelSettings(path=str(MODEL), threads=threads)
    engine = load_engine(settings)
    loader = AudioLoader(AudioSettings(roots=[str(SPEECH)]))
    by_path = {r.audio_filepath: loader.load(r.audio_filepath) for r in shipped_records()}
    audio = [by_path[record.audio_filepath] for record in many_records(clips)]
    engine.transcribe(audio[:200])
    seconds, cpu = [], []
    for _ in range(3):
        wall, used = time.perf_counter(), time.process_time()
        engine.transcribe(audio)
        seconds.append(time.perf_counter() - wall)
        cpu.append(time.process_time() - used)
    result = {
        "clips_per_s": clips / statistics.median(seconds),
        "cpu_ms": 1000 * statistics.median(cpu) / clips,
        "rtfx": sum(len(clip) for clip in audio) / 16_000 / statistics.median(seconds),
    }
    if compare:
        result["over_transcribe"] = _over_transcribe(engine, audio, threads)
    return result


def _over_transcribe(engine: Any, audio: list[Any], threads: int) -> float:
    """How many times faster than `transcribe()`: median over rounds that take turns."""
    import torch
    from nemo.collections.asr.models import ASRModel

    torch.set_num_threads(threads)
    model = ASRModel.restore_from(str(MODEL), map_location="cpu")
    model.eval()

    def reference() -> None:
        model.transcribe(audio, batch_size=TRANSCRIBE_BATCH, verbose=False)

    def seconds(run: Callable[[], object]) -> float:
        begin = time.perf_counter()
        run()
        return time.perf_counter() - begin

    audio = audio[:400]
    seconds(reference)
    ratios = [seconds(reference) / seconds(lambda: engine.transcribe(audio)) for _ in range(5)]
    return statistics.median(ratios)


def measure_engine(threads: int, clips: int, *, compare: bool = False) -> dict[str, float]:
    """`engine_main` in a fresh process."""
    command = [sys.executable, "-m", "tests.scenarios.bench", "--engine-only"]
    command += ["--threads", str(threads), "--records", str(clips)]
    command += ["--compare"] if compare else []
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


# -- the whole stream -------------------------------------------------------------------------


def stream_settings(threads: int) -> dict[str, Any]:
    """One model for every record, as the engine alone has it."""
    return {
        "models": {"general": {"path": str(MODEL), "threads": threads, "num_cpus": 0.1}},
        "routing": {"default": "general"},
        "audio": {"roots": [str(SPEECH)]},
        "serve": {"router_num_cpus": 0.1},
    }


def measure_stream(threads: int, count: int) -> dict[str, Any]:
    """Records per second from topic to topic, and CPU-ms a record by part, after a warm-up."""
    warm_up = max(200, count // 4)
    with LocalStack(stream_settings(threads), SPEECH) as stack:
        stack.start_serve()
        stack.start_broker()
        stack.wait_for_serve()
        produce(stack.settings, many_records(warm_up + count))
        stack.start_worker()
        arrivals = arrivals_of(stack, warm_up + count)
        for _ in range(warm_up):
            begin = next(arrivals)
        before = cpu_by_part(stack)
        end = list(arrivals)[-1]
        after = cpu_by_part(stack)
    parts = {name: 1000 * (after[name] - before[name]) / count for name in after}
    return {"records_per_s": count / (end - begin), "cpu_ms": parts}


def produce(settings: Settings, records: list[ManifestRecord]) -> None:
    """Send `records` to the manifest topic and wait for the broker's word."""
    producer = make_producer(settings.kafka, linger_ms=20)
    topic = settings.kafka.topics.manifests
    sent = [
        producer.send(topic, key=record.id.encode(), value=encode_manifest(record))
        for record in records
    ]
    for future in sent:
        future.get(60)
    producer.close()


def arrivals_of(stack: LocalStack, count: int) -> Iterator[float]:
    """When each of the first `count` committed transcripts was read."""
    seen = 0
    kafka = stack.settings.kafka
    for message in read_topic(kafka, kafka.topics.transcripts, follow=True):
        if message is None:
            stack.check_all()
            continue
        yield time.monotonic()
        seen += 1
        if seen == count:
            return


#: Parts of the system by what their command lines say; the first that fits.
PARTS = {
    "broker": ("kafka.Kafka",),
    "worker": ("workers.cli stream",),
    "router": ("ray::ServeReplica:chorus:Router",),
    "model": ("ray::ServeReplica:chorus:general",),
}


def cpu_by_part(stack: LocalStack) -> dict[str, float]:
    """CPU seconds so far of each part; what is none of `PARTS` is Ray itself."""
    seconds = dict.fromkeys([*PARTS, "ray"], 0.0)
    for process in stack.processes():
        try:
            line = " ".join(process.cmdline())
            times = process.cpu_times()
        except psutil.Error:
            continue
        part = next((name for name, marks in PARTS.items() if any(m in line for m in marks)), "ray")
        seconds[part] += times.user + times.system
    return seconds


def measure_cold_start() -> float:
    """Seconds from the commands to the first committed transcript, with the demo's settings."""
    settings = yaml.safe_load((DEMO / "chorus.yaml").read_text())
    begin = time.monotonic()
    with LocalStack(settings, DEMO) as stack:
        stack.start_serve()
        stack.start_broker()
        produce(stack.settings, shipped_records()[:10])
        stack.wait_for_serve()
        stack.start_worker()
        return next(arrivals_of(stack, 1)) - begin


def main() -> int:
    """Measure everything, print a table and, last, the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=3000)
    parser.add_argument("--threads", type=int, default=psutil.cpu_count(logical=False) or 1)
    parser.add_argument("--engine-only", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--compare", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.engine_only:
        print(json.dumps(engine_main(options.threads, options.records, options.compare)))
        return 0
    with console.status("cold start, five models ..."):
        cold_start = measure_cold_start()
    with console.status("the engine alone ..."):
        first = measure_engine(options.threads, options.records, compare=True)
    with console.status("the whole stream ..."):
        stream = measure_stream(options.threads, options.records)
    with console.status("the engine alone, again ..."):
        second = measure_engine(options.threads, options.records)
    engine = (first["clips_per_s"] + second["clips_per_s"]) / 2
    engine_cpu = (first["cpu_ms"] + second["cpu_ms"]) / 2
    parts = {name: round(value, 2) for name, value in stream["cpu_ms"].items()}
    figures = {
        "kafka_over_engine": round(stream["records_per_s"] / engine, 3),
        "overhead_cpu_ms": round(sum(stream["cpu_ms"].values()) - engine_cpu, 2),
        "engine_over_transcribe": round(first["over_transcribe"], 2),
        "cold_start_s": round(cold_start, 1),
        "parts_cpu_ms": parts,
        "engine_cpu_ms": round(engine_cpu, 2),
        "records_per_s": {
            "kafka": round(stream["records_per_s"], 1),
            "engine_before": round(first["clips_per_s"], 1),
            "engine_after": round(second["clips_per_s"], 1),
        },
        "engine_rtfx": round(first["rtfx"], 1),
        "threads": options.threads,
        "records": options.records,
    }
    for name, value in figures.items():
        console.print(f"  {name:24} {value}")
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
