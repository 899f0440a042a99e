"""What telemetry costs: a stream with all of it beside one without any, by turns.

Both are whole stacks, of which one is suspended while the other works: shared machines change their
speed from minute to minute, by more than what is measured here. For the same reason the CPU time of
everything but the model is told in terms of the model's own, which both need alike.

- `throughput_ratio`: records per second with all telemetry over those without; the median of the
  pairs of turns.
- `cost_cpu_ms`: CPU-ms a record more, beside the model; `cost_by_part` says where.
- `functions_cpu_ms`: CPU-ms a record of measuring alone, in this process.

With `--same` neither has any: what then differs is the benchmark's own error.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any, cast

import httpx
from kafka.errors import KafkaError
from opentelemetry.sdk.resources import Resource
from rich.console import Console

from deploy.local import ChildDiedError, LocalStack
from schemas.transcript import Timings, Transcript
from serve_app.engines.base import Hypothesis
from serve_app.model.meter import Batch, ModelMeter
from serve_app.router.meter import RouterMeter
from serve_app.telemetry.otel import OtelInstruments
from serve_app.telemetry.registry import RegistryInstruments
from serve_app.telemetry.tracing import send_spans
from tests.otlp import collector
from tests.scenarios.bench import (
    cpu_by_part,
    produce,
    stream_settings,
    wait_for_commit,
    write_speech,
)
from tests.scenarios.beside import beside
from tests.scenarios.outcome import exit_code_of
from tests.scenarios.speech import manifest_records, repeated
from tests.workers.stream.support import a_pending_record
from workers.broker.broker import BrokerError
from workers.broker.ports import free_ports
from workers.stream import tracing
from workers.stream.meter import StreamMeter

FAILURES = (ChildDiedError, BrokerError, KafkaError, TimeoutError)
RECORDS_A_TURN = 1000
WARM_UP_RECORDS = 800
RECORDS_BEHIND = 800
#: Records until what woke up is at work again, and that a turn may have more.
SETTLING_RECORDS, MORE_RECORDS = 200, 400
#: Seconds between two visits of Prometheus, as in `deploy/observability/prometheus.yaml`.
_SCRAPE_S = 15.0
_OFF = {"CHORUS_METRICS": "off"}
MODEL = "model"


class Side:
    """A stack with telemetry or without.

    Args:
        stack: whose broker, models and worker run.
        ports: that have metrics.
        environment: of its processes.
    """

    def __init__(self, stack: LocalStack, ports: list[int], environment: Mapping[str, str]) -> None:
        self._stack = stack
        self._environment = environment
        self._ports = ports
        self._cpu_ms: list[dict[str, float]] = []
        self._seconds: list[float] = []

    def begin(self, turns: int, records: Any) -> None:
        """Feed it."""
        a_turn = SETTLING_RECORDS + RECORDS_A_TURN + MORE_RECORDS
        total = WARM_UP_RECORDS + turns * a_turn + RECORDS_BEHIND
        produce(self._stack.settings, repeated(records, total))
        with variables(self._environment):
            self._stack.start_worker()

    def warm_up(self) -> None:
        """Let it come to speed."""
        wait_for_commit(self._stack, WARM_UP_RECORDS)

    def wake(self) -> None:
        """Go on."""
        for process in self._stack.processes():
            process.resume()

    def rest(self) -> None:
        """Stand still."""
        for process in self._stack.processes():
            process.suspend()

    def work(self) -> None:
        """Work for a turn."""
        self.wake()
        with beside(self._scrape):
            # from one commit to another, once what woke up is at work again
            woken = wait_for_commit(self._stack, wait_for_commit(self._stack, 0) + SETTLING_RECORDS)
            before, begin = cpu_by_part(self._stack), time.monotonic()
            done = wait_for_commit(self._stack, woken + RECORDS_A_TURN)
            seconds = time.monotonic() - begin
            after = cpu_by_part(self._stack)
        self._seconds.append(seconds / (done - woken))
        self._cpu_ms.append({p: 1000 * (after[p] - before[p]) / (done - woken) for p in after})
        self.rest()

    def _scrape(self, ended: threading.Event) -> None:
        while not ended.wait(_SCRAPE_S):
            for port in self._ports:
                with suppress(httpx.HTTPError):
                    httpx.get(f"http://127.0.0.1:{port}/metrics")

    @property
    def seconds(self) -> list[float]:
        """Seconds a record, by turn."""
        return self._seconds

    def beside_model(self) -> dict[str, float]:
        """CPU time of each part but the model, in terms of the model's."""
        parts = [part for part in self._cpu_ms[0] if part != MODEL]
        return {part: median(turn[part] / turn[MODEL] for turn in self._cpu_ms) for part in parts}

    @property
    def model_cpu_ms(self) -> float:
        """CPU-ms a record of the model."""
        return median(turn[MODEL] for turn in self._cpu_ms)


@contextmanager
def variables(environment: Mapping[str, str]) -> Iterator[None]:
    """Have the processes that start in the block inherit these variables."""
    os.environ.update(environment)
    try:
        yield
    finally:
        for name in environment:
            del os.environ[name]


def run_bench(
    turns: int, same: bool, say: Callable[[str], None]
) -> tuple[dict[str, Any], list[str]]:
    """Let both work by turns; the figures."""
    with ExitStack() as around:
        folder = Path(around.enter_context(tempfile.TemporaryDirectory(prefix="chorus-bench-")))
        write_speech(folder)
        speech = folder / "wav"
        records = manifest_records(speech)
        found = around.enter_context(collector())
        on = {"OTEL_EXPORTER_OTLP_ENDPOINT": found.url}
        status, first, second = free_ports(3)
        with_all = (on, {"status": {"port": status}}, [status, first])
        without: tuple[dict[str, str], dict[str, Any], list[int]] = (_OFF, {}, [])
        sides = []
        for (environment, stream, ports), api in zip(
            (without if same else with_all, without), (first, second), strict=True
        ):
            settings = stream_settings(speech, replicas=1) | {"stream": stream}
            settings["http"] = {"port": api, "num_cpus": 0.1}
            stack = around.enter_context(LocalStack(settings, speech))
            with variables(environment):
                stack.start_broker()
                stack.start_serve()
            stack.wait_for_serve()
            side = Side(stack, ports, environment)
            sides.append(side)
            say(f"{'with' if ports else 'without'} telemetry: it is up")
        # together, since a worker that is suspended for a minute takes itself for stuck
        for side in sides:
            side.begin(turns, records)
        for side in sides:
            side.warm_up()
        for side in sides:
            side.rest()
        # always in the same order: a stack that goes on where it was is 1.4 times as fast as one
        # that was suspended, so each turn must begin with a wake
        for _ in range(turns):
            for side in sides:
                side.work()
        for side in sides:
            side.wake()
        spans = len(found.spans)
    one, other = sides
    ratios = [b / a for a, b in zip(one.seconds, other.seconds, strict=True)]
    had, model_ms = other.beside_model(), other.model_cpu_ms
    cost = {part: model_ms * (share - had[part]) for part, share in one.beside_model().items()}
    return {
        "throughput_ratio": round(median(ratios), 3),
        "throughput_ratios": [round(each, 3) for each in ratios],
        "cost_cpu_ms": round(sum(cost.values()), 3),
        "cost_by_part": {part: round(each, 3) for part, each in cost.items()},
        "cpu_ms": round(model_ms * sum(had.values()), 2),
        "model_cpu_ms": round(model_ms, 2),
        "functions_cpu_ms": functions_cpu_ms(),
        "spans": spans,
        "turns": turns,
    }, []


def functions_cpu_ms() -> dict[str, float]:
    """CPU-ms a record of what is called for each list and each batch."""
    instruments = RegistryInstruments({"application": "a", "deployment": "b", "replica": "c"})
    transcript = Transcript(
        id="r",
        audio_filepath="a.wav",
        duration=5.0,
        pred_text="one",
        selected_model="general",
        model_path="general.nemo",
        rule="default",
        confidence=0.9,
        audio_measures={"snr_db": 20.0, "bandwidth_hz": 8000.0, "clipping": 0.0},
        timings=Timings(audio_ms=1, queue_ms=2, model_ms=3, total_ms=4),
    )
    router, model = RouterMeter(instruments), ModelMeter("general", instruments)
    batch = Batch([5.0] * 16, [Hypothesis(text="one", confidence=0.9)] * 16, 0.1, 0.1, 80.0)

    def cost(call: Callable[[], None], records: int) -> float:
        rounds = []
        for _ in range(5):
            begin = time.process_time()
            for _ in range(100):
                call()
            rounds.append(time.process_time() - begin)
        return round(min(rounds) * 10 / records, 4)

    with collector() as found, variables({"OTEL_EXPORTER_OTLP_ENDPOINT": found.url}):
        end_spans = send_spans("bench", "0")
        worker_instruments = OtelInstruments(Resource.create())
        stream = StreamMeter(cast(Any, None), worker_instruments)
        records = [a_pending_record(str(number)) for number in range(128)]
        for each in records:
            each.message.timestamp = 1000 * int(time.time())

        def committed() -> None:
            for each in records:
                each.span, each.outcome, each.finished = None, transcript, time.time()
                tracing.begin(each, "group")
            stream.count(records)
            tracing.end(records)

        costs = {
            "router": cost(lambda: router.end([transcript] * 32, 0), 32),
            "model": cost(lambda: model.batch(batch), 16),
            "worker": cost(committed, 128),
        }
        end_spans()
        worker_instruments.close()
    return costs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--same", action="store_true", help="neither has any telemetry")
    given = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True, stderr=True)
    return exit_code_of(
        lambda: run_bench(given.turns, given.same, console.print), FAILURES, console
    )


if __name__ == "__main__":
    sys.exit(main())
