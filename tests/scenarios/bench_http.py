"""The HTTP API's speed, as ratios measured in one run on one machine.

- `http_over_handle_throughput`: requests per second by HTTP, over calls per second of the Router by
  its Serve handle with the same clips, decoded, from as many clients. By turns.
- `p99_ms_over_p50_ms`: of the latency by HTTP in those turns.
- `interactive_p99_with_bulk_over_without`: the 99th percentile of a few clients' latency while the
  Kafka stream has more to do than it can, over that without the stream.
- `crowd`: many clients at once for a while: answers by status, answers that never came, answers
  with another clip's text, and how much memory the service has grown.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import numpy as np
import psutil
from rich.console import Console

from deploy.demo import FOLDER, SPEECH
from deploy.local import LocalStack
from schemas.manifest import ManifestRecord
from schemas.requests import CallOptions
from schemas.settings import AudioSettings
from schemas.transcript import Transcript
from serve_app.audio import AudioLoader
from serve_app.audio.clip import Clip, Recording
from serve_app.cluster import ray_cluster
from serve_app.router.client import RouterClient
from serve_app.scoring.wer import count_errors
from tests.scenarios.bench import GENERAL, cores, model_settings, produce, wait_for_commit
from tests.scenarios.speech import many_records, shipped_records
from workers.broker.ports import free_ports

#: Clients at once in the turns, and requests in each turn.
CLIENTS, REQUESTS_A_TURN, TURNS = 16, 240, 4
#: Clients that wait for their answers beside the stream, and how many they ask for.
INTERACTIVE, INTERACTIVE_REQUESTS = 2, 300
#: Records of the stream: more than it transcribes meanwhile.
BACKLOG = 60_000

console = Console(stderr=True, highlight=False)


@dataclass(frozen=True)
class Speech:
    """A shipped utterance: as a file is uploaded, and decoded."""

    data: bytes
    clip: Clip


Ask = Callable[[Speech], Awaitable[Any]]


def main() -> int:
    """Measure everything, print a table and, last, the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=300, help="clients at once in the last part")
    parser.add_argument("--seconds", type=float, default=120.0, help="duration of the last part")
    options = parser.parse_args()
    model = {**model_settings(GENERAL), "num_cpus": 0.1, "replicas": cores()}
    settings = {
        "models": {"general": model},
        "routing": {"default": "general"},
        "audio": {"roots": [str(SPEECH)]},
        "serve": {"router_num_cpus": 0.1},
        "http": {"port": free_ports(1)[0], "num_cpus": 0.1},
    }
    with LocalStack(settings, FOLDER) as stack:
        stack.start_serve()
        stack.start_broker()
        stack.wait_for_serve()
        figures = asyncio.run(measure(stack, options.clients, options.seconds))
    for key, value in figures.items():
        console.print(f"  {key:40} {value}")
    print(json.dumps(figures))
    crowd = figures["crowd"]
    return 1 if crowd["unexpected"] or crowd["lost"] or crowd["wrong"] else 0


async def measure(stack: LocalStack, clients: int, seconds: float) -> dict[str, Any]:
    """All figures."""
    http = stack.settings.http
    assert http is not None
    speech = read_speech()
    ray_cluster.connect(stack.address)
    router = RouterClient(stack.settings.serve.app)

    async def by_handle(one: Speech) -> None:
        record = ManifestRecord(id="handle", audio_filepath="clip")
        [found] = await router.transcribe(
            [record], CallOptions(words=True, interactive=True), [Recording(one.clip)]
        )
        if not isinstance(found, Transcript):
            raise RuntimeError(found.message)

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        f"http://{http.host}:{http.port}", connector=connector
    ) as session:

        async def by_http(one: Speech) -> None:
            status, _ = await post(session, one)
            if status != 200:
                raise RuntimeError(f"answered with {status}")

        console.print("by handle and by HTTP, by turns ...")
        await turn(by_handle, speech, CLIENTS, CLIENTS * 4)
        await turn(by_http, speech, CLIENTS, CLIENTS * 4)
        rates: dict[str, list[float]] = {"handle": [], "http": []}
        latencies: list[float] = []
        for _ in range(TURNS):
            rate, _ = await turn(by_handle, speech, CLIENTS, REQUESTS_A_TURN)
            rates["handle"].append(rate)
            rate, some = await turn(by_http, speech, CLIENTS, REQUESTS_A_TURN)
            rates["http"].append(rate)
            latencies += some
        console.print("a few clients alone ...")
        _, alone = await turn(by_http, speech, INTERACTIVE, INTERACTIVE_REQUESTS)
        console.print("a few clients beside the stream ...")
        beside, bulk = await beside_the_stream(stack, by_http, speech)
        console.print(f"{clients} clients for {seconds:g} s ...")
        crowd = await measure_crowd(stack, session, speech, clients, seconds)
    p50, p99 = np.percentile(latencies, [50, 99])
    alone_p99, beside_p99 = np.percentile(alone, 99), np.percentile(beside, 99)
    return {
        "http_over_handle_throughput": round(sum(rates["http"]) / sum(rates["handle"]), 3),
        "p99_ms_over_p50_ms": round(p99 / p50, 2),
        "interactive_p99_with_bulk_over_without": round(beside_p99 / alone_p99, 2),
        "requests_per_s": {name: round(float(np.mean(each)), 1) for name, each in rates.items()},
        "p50_ms": round(1000 * p50, 1),
        "p99_ms": round(1000 * p99, 1),
        "interactive_p99_ms": [round(1000 * alone_p99, 1), round(1000 * beside_p99, 1)],
        "bulk_records_per_s_meanwhile": round(bulk, 1),
        "crowd": crowd,
    }


def read_speech() -> list[Speech]:
    """All shipped utterances."""
    loader = AudioLoader(AudioSettings(roots=[str(SPEECH)]))
    return [
        Speech((SPEECH / each.audio_filepath).read_bytes(), loader.load(each.audio_filepath))
        for each in shipped_records()
    ]


async def post(session: aiohttp.ClientSession, one: Speech) -> tuple[int, str]:
    """Status and text of a transcription by HTTP."""
    form = aiohttp.FormData()
    form.add_field("model", "auto")
    form.add_field("file", one.data, filename="speech")
    async with session.post("/v1/audio/transcriptions", data=form) as answer:
        body = await answer.json(content_type=None)
        return answer.status, str(body.get("text", ""))


async def turn(
    ask: Ask, speech: Sequence[Speech], clients: int, requests: int
) -> tuple[float, list[float]]:
    """Requests per second, and the seconds that each took."""
    numbers = iter(range(requests))
    latencies: list[float] = []

    async def client() -> None:
        for number in numbers:
            begin = time.perf_counter()
            await ask(speech[number % len(speech)])
            latencies.append(time.perf_counter() - begin)

    begin = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return requests / (time.perf_counter() - begin), latencies


async def beside_the_stream(
    stack: LocalStack, ask: Ask, speech: Sequence[Speech]
) -> tuple[list[float], float]:
    """Seconds that each request took while the stream ran, and the stream's records per second."""
    await asyncio.to_thread(produce, stack.settings, many_records(BACKLOG))
    stack.start_worker()
    first = await asyncio.to_thread(wait_for_commit, stack, 500)
    begin = time.perf_counter()
    _, latencies = await turn(ask, speech, INTERACTIVE, INTERACTIVE_REQUESTS)
    last = await asyncio.to_thread(wait_for_commit, stack, first)
    if last >= BACKLOG:
        raise RuntimeError("the stream had nothing to do any more; raise BACKLOG")
    rate = (last - first) / (time.perf_counter() - begin)
    stack.kill_worker("0")
    stack.workers.clear()
    return latencies, rate


async def measure_crowd(
    stack: LocalStack,
    session: aiohttp.ClientSession,
    speech: Sequence[Speech],
    clients: int,
    seconds: float,
) -> dict[str, Any]:
    """The results of many clients at once: answers by status, losses, wrong texts, memory."""
    expected = [(await post(session, each))[1] for each in speech]
    statuses: Counter[int] = Counter()
    lost = wrong = 0
    before = memory_mb(stack)
    end = time.monotonic() + seconds

    async def client(number: int) -> None:
        nonlocal lost, wrong
        rng = random.Random(number)
        while time.monotonic() < end:
            index = rng.randrange(len(speech))
            try:
                status, text = await post(session, speech[index])
            except (aiohttp.ClientError, ValueError, TimeoutError):
                lost += 1
                continue
            statuses[status] += 1
            if status == 200:
                # in another batch a model may hear a word otherwise, but not another sentence
                rate = count_errors(expected[index], text).percent
                wrong += rate is not None and rate > 50
            else:
                await asyncio.sleep(1.0)  # as `Retry-After` says

    half = asyncio.create_task(asyncio.sleep(seconds / 2, result=None))
    work = asyncio.gather(*(client(number) for number in range(clients)))
    await half
    middle = memory_mb(stack)
    await work
    await asyncio.sleep(2)
    return {
        "clients": clients,
        "answers": sum(statuses.values()),
        "statuses": {str(status): count for status, count in sorted(statuses.items())},
        "unexpected": sum(n for status, n in statuses.items() if status not in (200, 429, 503)),
        "lost": lost,
        "wrong": wrong,
        "memory_mb": [round(before), round(middle), round(memory_mb(stack))],
    }


def memory_mb(stack: LocalStack) -> float:
    """Resident memory of the API, the proxy, the Router and the models, without what they share."""
    total = 0
    for process in stack.processes():
        try:
            if process.cmdline()[0].startswith(("ray::ServeReplica", "ray::Proxy")):
                total += process.memory_full_info().uss
        except (psutil.Error, IndexError):
            continue
    return total / 2**20


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
