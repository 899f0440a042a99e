"""What telemetry costs: a stream with all of it beside one without any, by turns.

Both are whole stacks, of which one is suspended while the other works: shared machines change their
speed from minute to minute, by more than what is measured here.

- `throughput_ratio`: records per second with all telemetry over those without.
- `cost_cpu_ms`: CPU-ms a record more.
- `functions_cpu_ms`: CPU-ms a record of measuring alone, in this process.
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
from typing import Any

import httpx
from kafka.errors import KafkaError
from rich.console import Console

from deploy.local import ChildDiedError, LocalStack
from schemas.transcript import Timings, Transcript
from serve_app.engines.base import Hypothesis
from serve_app.model.meter import Batch, ModelMeter
from serve_app.router.meter import RouterMeter
from serve_app.telemetry.registry import RegistryInstruments
from tests.otlp import collector
from tests.scenarios.bench import (
    cpu_by_part,
    produce,
    stream_settings,
    wait_for_commit,
    write_speech,
)
from tests.scenarios.outcome import exit_code_of
from tests.scenarios.speech import manifest_records, repeated
from workers.broker.broker import BrokerError
from workers.broker.ports import free_ports

FAILURES = (ChildDiedError, BrokerError, KafkaError, TimeoutError)
RECORDS_A_TURN = 400
WARM_UP_RECORDS = 800
RECORDS_BEHIND = 800
#: Seconds between two visits of Prometheus.
_SCRAPE_S = 5.0
_OFF = {"CHORUS_METRICS": "off"}


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
        self._done = 0
        self._cpu_s = 0.0
        self._seconds: list[float] = []

    def begin(self, turns: int, records: Any) -> None:
        """Feed it."""
        total = WARM_UP_RECORDS + turns * RECORDS_A_TURN + RECORDS_BEHIND
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
        with self._scraped():
            self._done = wait_for_commit(self._stack, 0)
            before, begin = sum(cpu_by_part(self._stack).values()), time.monotonic()
            done = wait_for_commit(self._stack, self._done + RECORDS_A_TURN)
            seconds = time.monotonic() - begin
            self._cpu_s += sum(cpu_by_part(self._stack).values()) - before
        self._seconds.append(seconds / (done - self._done))
        self._done = done
        self.rest()

    @contextmanager
    def _scraped(self) -> Iterator[None]:
        ended = threading.Event()

        def scrape() -> None:
            while not ended.wait(_SCRAPE_S):
                for port in self._ports:
                    with suppress(httpx.HTTPError):
                        httpx.get(f"http://127.0.0.1:{port}/metrics")

        thread = threading.Thread(target=scrape, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    @property
    def seconds(self) -> list[float]:
        """Seconds a record, by turn."""
        return self._seconds

    @property
    def cpu_ms(self) -> float:
        """CPU-ms a record."""
        return 1000 * self._cpu_s / (len(self._seconds) * RECORDS_A_TURN)


@contextmanager
def variables(environment: Mapping[str, str]) -> Iterator[None]:
    """Have the processes that start in the block inherit these variables."""
    os.environ.update(environment)
    try:
        yield
    finally:
        for name in environment:
            del os.environ[name]


def run_bench(turns: int, say: Callable[[str], None]) -> tuple[dict[str, Any], list[str]]:
    """Let both work by turns; the figures."""
    with ExitStack() as around:
        folder = Path(around.enter_context(tempfile.TemporaryDirectory(prefix="chorus-bench-")))
        write_speech(folder)
        speech = folder / "wav"
        records = manifest_records(speech)
        found = around.enter_context(collector())
        on = {"OTEL_EXPORTER_OTLP_ENDPOINT": found.url}
        status, api = free_ports(2)
        off_port, *_ = free_ports(1)
        sides = []
        for environment, stream, ports in (
            (on, {"status": {"port": status}}, [status, api]),
            (_OFF, {}, []),
        ):
            settings = stream_settings(speech, replicas=1) | {"stream": stream}
            settings["http"] = {"port": api if ports else off_port, "num_cpus": 0.1}
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
        for turn in range(turns):
            for side in sides if turn % 2 else reversed(sides):
                side.work()
        for side in sides:
            side.wake()
        spans = len(found.spans)
    with_it, without = sides
    ratios = [b / a for a, b in zip(with_it.seconds, without.seconds, strict=True)]
    return {
        "throughput_ratio": round(median(ratios), 3),
        "cost_cpu_ms": round(with_it.cpu_ms - without.cpu_ms, 3),
        "cpu_ms": round(without.cpu_ms, 2),
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

    return {
        "router": cost(lambda: router.end([transcript] * 32, 0), 32),
        "model": cost(lambda: model.batch(batch), 16),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=10)
    given = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True, stderr=True)
    return exit_code_of(lambda: run_bench(given.turns, console.print), FAILURES, console)


if __name__ == "__main__":
    sys.exit(main())
