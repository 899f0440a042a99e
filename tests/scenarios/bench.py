"""Speed, as ratios measured in one run on one machine.

- `kafka_over_engine`: records per second from topic to topic, over those of as many bare engines
  as the stream has replicas, on the same clips and the same cores. The engines get all clips at
  once and decoded; the stream reads and decodes files, routes, transcribes, scores, commits.
- `kafka_over_one_engine`: the same over one bare engine that has all the cores, as a script would
  use it.
- `overhead_cpu_ms`: CPU-ms a record of everything but the model: all processes of the run, less
  what a bare engine needs for the same clips. `parts_cpu_ms` says where it goes, `audio_cpu_ms`
  what the loader takes of it, by the format of the files.
- `engine_over_transcribe`: the engine over NeMo's own `transcribe()`, clips of mixed length.
- `plan_cpu_ms`: CPU-ms a record of choosing a plan (measures and rules), and of a vote of five.
- `cold_start_s`: from the command to the first committed transcript, five models, nothing running.

With `--size large` only the stream and the engines are measured, with a FastConformer-L of random
weights; `model_over_engine_cpu` is the CPU time of its process over that of a bare engine.

Shared machines change their speed from minute to minute, by more than what is measured here. So the
engines work before and after each stream, and a ratio is that of a stream to the mean of both; the
figures are the medians of the rounds. (Nothing is suspended meanwhile: what was stopped for half a
minute is slower in the next one, by up to 1.7 times on a virtual machine.)
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import Any, NamedTuple

import msgspec
import psutil
import soundfile
import yaml
from rich.console import Console

from deploy.demo import FOLDER, MODELS, SPEECH
from deploy.local import LocalStack
from schemas.manifest import ManifestRecord, encode_manifest
from schemas.settings import AudioSettings, Settings
from serve_app.audio import AudioLoader
from tests.scenarios.bench_engine import BareEngines, measure_over_transcribe
from tests.scenarios.bench_plans import plan_cpu_ms
from tests.scenarios.large_model import write_large_model
from tests.scenarios.speech import manifest_records, repeated, shipped_records
from tests.scenarios.stream_watch import Feed, committed_offsets
from workers.kafka.clients import make_admin
from workers.kafka.reader import read_topic

#: Formats of `audio_cpu_ms`, as soundfile calls them: suffix, format, subtype.
FORMATS = {
    "wav": (".wav", "WAV", "PCM_16"),
    "flac": (".flac", "FLAC", "PCM_16"),
    "mp3": (".mp3", "MP3", "MPEG_LAYER_III"),
    "opus": (".opus", "OGG", "OPUS"),
}

GENERAL = MODELS / "general.nemo"


class Size(NamedTuple):
    """How much is done with a model of some size.

    Attributes:
        records: that count, of each stream.
        warm_up: records before them, by which the JVM and the caches grow warm.
        behind: records after them, which keep every replica at work until the end.
        clips: of each bare engine.
        rounds: streams.
    """

    records: int
    warm_up: int
    behind: int
    clips: int
    rounds: int


SIZES = {"demo": Size(2000, 1200, 800, 800, 3), "large": Size(600, 150, 150, 300, 1)}

console = Console(stderr=True, highlight=False)


# -- the clips --------------------------------------------------------------------------------


def write_speech(folder: Path, formats: Iterable[str] = FORMATS) -> None:
    """The shipped speech as 16 kHz files with a manifest, in `folder/NAME` for each format."""
    records = shipped_records()
    loader = AudioLoader(AudioSettings(roots=[str(SPEECH)]))
    clips = [loader.load(record.audio_filepath) for record in records]
    for name in formats:
        suffix, container, subtype = FORMATS[name]
        (folder / name).mkdir()
        lines = []
        for record, clip in zip(records, clips, strict=True):
            path = f"{record.id}{suffix}"
            soundfile.write(folder / name / path, clip, 16_000, format=container, subtype=subtype)
            lines.append(encode_manifest(msgspec.structs.replace(record, audio_filepath=path)))
        (folder / name / "manifest.jsonl").write_bytes(b"\n".join(lines))


def audio_cpu_ms(folder: Path) -> float:
    """CPU-ms that the loader takes for a file of `folder`; the least of three rounds."""
    loader = AudioLoader(AudioSettings(roots=[str(folder)]))
    records = manifest_records(folder)
    rounds = []
    for _ in range(3):
        begin = time.process_time()
        for record in records:
            loader.load(record.audio_filepath)
        rounds.append(time.process_time() - begin)
    return 1000 * min(rounds) / len(records)


# -- the whole stream -------------------------------------------------------------------------


def stream_settings(speech: Path, replicas: int, model: Path = GENERAL) -> dict[str, Any]:
    """One model for every record, as the engines alone have it."""
    return {
        "models": {"general": {**model_settings(model), "num_cpus": 0.1, "replicas": replicas}},
        "routing": {"default": "general"},
        "audio": {"roots": [str(speech)], "threads": cores()},
        "serve": {"router_num_cpus": 0.1},
    }


def stand_in_settings(speech: Path) -> dict[str, Any]:
    """As `stream_settings`, with one replica of a model that takes no time."""
    settings = stream_settings(speech, 1)
    settings["models"] = {"general": {"engine": "tests.standin:StandInEngine", "num_cpus": 0.1}}
    return settings


def model_settings(path: Path) -> dict[str, Any]:
    """What suits a CPU: a thread a replica, as threads that wait for one another waste cores."""
    return {"path": str(path), "threads": 1, "batch_seconds": 30.0}


class Stream(NamedTuple):
    """What a stream did in steady state.

    Attributes:
        records_per_s: from topic to topic.
        cpu_ms: CPU-ms a record, by part.
    """

    records_per_s: float
    cpu_ms: dict[str, float]


def measure_stream(settings: dict[str, Any], speech: Path, size: Size) -> Stream:
    """A stream from its start to its end."""
    total = size.warm_up + size.records + size.behind
    with LocalStack(settings, speech) as stack:
        stack.start_serve()
        stack.start_broker()
        stack.wait_for_serve()
        produce(stack.settings, repeated(manifest_records(speech), total))
        stack.start_worker()
        found = between(stack, size.warm_up, size.warm_up + size.records)
        wait_for_commit(stack, total)
        kafka = stack.settings.kafka
        transcripts = sum(1 for _ in read_topic(kafka, kafka.topics.transcripts))
    if transcripts != total:
        raise RuntimeError(f"{transcripts} transcripts of {total} records")
    return found


def between(stack: LocalStack, begin: int, end: int) -> Stream:
    """What a running stream does from its record `begin` to its record `end`. Blocks."""
    first = wait_for_commit(stack, begin)
    before, started = cpu_by_part(stack), time.monotonic()
    last = wait_for_commit(stack, end)
    after, seconds = cpu_by_part(stack), time.monotonic() - started
    parts = {name: 1000 * (after[name] - before[name]) / (last - first) for name in after}
    return Stream((last - first) / seconds, parts)


def produce(settings: Settings, records: list[ManifestRecord]) -> None:
    """Send `records` to the manifest topic and wait until the broker has acknowledged them."""
    feed = Feed(settings.kafka, records)
    feed.finish()
    feed.close()


def wait_for_commit(stack: LocalStack, count: int) -> int:
    """Block until the worker has committed `count` records; returns how many it has then.

    Offsets are committed with the transcripts, and asking for them takes less of the cores that
    are being measured than reading the transcripts does.
    """
    kafka = stack.settings.kafka
    with make_admin(kafka) as admin:
        while (done := sum(committed_offsets(admin, kafka.group).values())) < count:
            stack.check_all()
            time.sleep(0.2)
        return done


#: Parts of the system by what their command lines match; the first that does.
PARTS = {
    "broker": r"kafka\.Kafka",
    "worker": r"workers\.cli stream|serve_app\.cluster\.router_process",
    "router": r"ray::ServeReplica:[^:]+:Router",
    "model": r"ray::ServeReplica:[^:]+:general",
}


def cpu_by_part(stack: LocalStack) -> dict[str, float]:
    """CPU seconds so far of each part; what is none of `PARTS` is Ray itself."""
    seconds = dict.fromkeys([*PARTS, "ray"], 0.0)
    for process in stack.processes():
        try:
            part = part_of(process)
            times = process.cpu_times()
        except psutil.Error:
            continue
        seconds[part] += times.user + times.system
    return seconds


def part_of(process: psutil.Process) -> str:
    """The part that a process belongs to.

    Raises:
        psutil.Error: it has ended.
    """
    line = " ".join(process.cmdline())
    return next((name for name, mark in PARTS.items() if re.search(mark, line)), "ray")


def measure_cold_start() -> float:
    """Seconds from the commands to the first committed transcript, with the demo's settings."""
    settings = yaml.safe_load((FOLDER / "chorus.yaml").read_text())
    begin = time.monotonic()
    with LocalStack(settings, FOLDER) as stack:
        stack.start_serve()
        stack.start_broker()
        stack.start_worker()
        produce(stack.settings, shipped_records()[:10])
        stack.wait_for_serve()
        wait_for_commit(stack, 1)
        return time.monotonic() - begin


def main() -> int:
    """Measure everything, print a table and, last, the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, help="streams; 3, or 1 of the large model")
    parser.add_argument("--replicas", type=int, default=cores())
    parser.add_argument("--format", choices=FORMATS, default="wav", help="of the stream's audio")
    parser.add_argument("--size", choices=SIZES, default="demo", help="of the model")
    options = parser.parse_args()
    size = SIZES[options.size]
    size = size._replace(rounds=options.rounds or size.rounds)
    with tempfile.TemporaryDirectory(prefix="chorus-bench-") as name:
        if options.size == "large":
            figures = measure_large(Path(name), size, options.replicas)
        else:
            figures = measure(Path(name), size, options.replicas, options.format)
    for key, value in figures.items():
        console.print(f"  {key:24} {value}")
    print(json.dumps(figures))
    return 0


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def measure(folder: Path, size: Size, replicas: int, format_: str) -> dict[str, Any]:
    """All figures; clips are written to `folder`."""
    write_speech(folder)
    speech = folder / format_
    audio = {name: round(audio_cpu_ms(folder / name), 2) for name in FORMATS}
    console.print("cold start, five models ...")
    cold_start = measure_cold_start()
    console.print("the engine against transcribe() ...")
    over_transcribe = measure_over_transcribe(speech, threads=cores())
    # threads share a batch, so they want larger ones; 80 s was the best of those tried with two
    shared = {**model_settings(GENERAL), "threads": cores(), "batch_seconds": 80.0}
    rivals = [Rival("engine", replicas, model_settings(GENERAL)), Rival("one_engine", 1, shared)]
    return {
        **measure_rounds(stream_settings(speech, replicas), speech, size, rivals),
        "engine_over_transcribe": round(over_transcribe, 2),
        "cold_start_s": round(cold_start, 1),
        "audio_cpu_ms": audio,
        "plan_cpu_ms": {name: round(value, 2) for name, value in plan_cpu_ms().items()},
        "format": format_,
        "replicas": replicas,
    }


def measure_large(folder: Path, size: Size, replicas: int) -> dict[str, Any]:
    """The stream with a model of real size; clips and model are written to `folder`."""
    write_speech(folder, ["wav"])
    console.print("a model of random weights ...")
    model, speech = folder / "large.nemo", folder / "wav"
    write_large_model(model)
    settings = stream_settings(speech, replicas, model)
    # a call ends with the last of its records, which takes a slow model long
    settings["stream"] = {"batch_records": 16}
    rivals = [Rival("engine", replicas, model_settings(model))]
    figures = measure_rounds(settings, speech, size, rivals)
    over = figures["parts_cpu_ms"]["model"] / figures["engine_cpu_ms"]
    return {**figures, "model_over_engine_cpu": round(over, 3), "replicas": replicas}


class Rival(NamedTuple):
    """Bare engines that a stream is compared to.

    Attributes:
        name: of the figure.
        engines: how many work at once.
        model: settings of each.
    """

    name: str
    engines: int
    model: dict[str, Any]

    def work(self, speech: Path, clips: int) -> BareEngines:
        """Load them, and let each transcribe `clips` clips."""
        with BareEngines(
            speech, engines=self.engines, model=self.model, warm_up=clips // 2
        ) as engines:
            engines.wait_until_ready()
            engines.work(clips)
        return engines


def measure_rounds(
    settings: dict[str, Any], speech: Path, size: Size, rivals: list[Rival]
) -> dict[str, Any]:
    """Streams, with bare engines before and after each; the first of `rivals` is the measure."""
    streams: list[Stream] = []
    engines = [[each.work(speech, size.clips) for each in rivals]]
    for number in range(size.rounds):
        console.print(f"the whole stream and the bare engines, {number + 1} of {size.rounds} ...")
        streams.append(measure_stream(settings, speech, size))
        engines.append([each.work(speech, size.clips) for each in rivals])
    per_s = [[found[place].clips_per_s for found in engines] for place in range(len(rivals))]
    over = {
        f"kafka_over_{rival.name}": median(
            stream.records_per_s / fmean(around)
            for stream, around in zip(streams, pairwise(found), strict=True)
        )
        for rival, found in zip(rivals, per_s, strict=True)
    }
    parts = {name: median(each.cpu_ms[name] for each in streams) for name in streams[0].cpu_ms}
    alone_ms = median(each[0].cpu_ms for each in engines)
    return {
        **{name: round(value, 3) for name, value in over.items()},
        "overhead_cpu_ms": round(sum(parts.values()) - alone_ms, 2),
        "parts_cpu_ms": {name: round(value, 2) for name, value in parts.items()},
        "engine_cpu_ms": round(alone_ms, 2),
        "engine_rtfx": round(median(each[0].rtfx for each in engines), 1),
        "records_per_s": {
            "kafka": [round(each.records_per_s, 1) for each in streams],
            **{
                rival.name: [round(each, 1) for each in found]
                for rival, found in zip(rivals, per_s, strict=True)
            },
        },
    }


if __name__ == "__main__":
    sys.exit(main())
