"""The trace of one record from its producer to its commit, and of one HTTP request.

A real stream with an ensemble, and a collector of OpenTelemetry that its processes send to.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import httpx
from kafka import KafkaProducer
from kafka.errors import KafkaError
from rich.console import Console

from deploy.local import ChildDiedError, LocalStack
from schemas.manifest import encode_manifest
from tests.otlp import Collector, collector
from tests.scenarios.outcome import exit_code_of
from tests.scenarios.settings import BASE, ensemble_settings
from tests.scenarios.speech import many_records
from tests.scenarios.stream_watch import CommitWatch
from workers.broker.broker import BrokerError
from workers.broker.ports import free_ports

FAILURES = (ChildDiedError, BrokerError, KafkaError, TimeoutError, httpx.HTTPError)
#: Of the producer of the record, and of the client of the request.
RECORD, REQUEST = "4bf92f3577b34da6a3ce929d0e0e4736", "0af7651916cd43dd8448eb211c80319c"
_SPAN = "00f067aa0ba902b7"
#: Records beside the one, which have no trace of their own.
_OTHERS = 20
_WAIT_S = 180.0
#: What one of the traces must have.
_OF_RECORD = {
    "process asr.manifests",
    "transcribe record",
    "read audio",
    "ask general",
    "ask medical",
    "transcribe clip",
    "batch",
    "send asr.transcripts",
    "commit asr.manifests",
}
_OF_REQUEST = {"transcribe record", "ask general", "ask medical", "transcribe clip", "batch"}


def run_trace(
    say: Callable[[str], None], look: Callable[[str], None] = lambda url: None
) -> tuple[dict[str, Any], list[str]]:
    """Start everything, send a record and a request, and show their traces.

    Args:
        say: takes the traces.
        look: called with the URL of the API while everything runs.
    """
    [port] = free_ports(1)
    settings = {**ensemble_settings("stand-in"), "http": {"port": port, "num_cpus": 0.1}}
    with collector() as found:
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = found.url
        os.environ["OTEL_BSP_SCHEDULE_DELAY"] = "500"  # milliseconds
        # no other record is sampled, which might be the first of a commit in place of this one
        os.environ["OTEL_TRACES_SAMPLER"] = "parentbased_always_off"
        with LocalStack(settings, BASE) as stack:
            stack.start_broker()
            stack.start_serve()
            stack.wait_for_serve()
            stack.start_worker()
            _send(stack)
            _request(port)
            faults = _wait(found)
            look(f"http://127.0.0.1:{port}")
        for trace in (RECORD, REQUEST):
            say("\n".join(found.tree(trace)) + "\n")
    traces = {each.trace for each in found.spans}
    return {"spans": len(found.spans), "traces": len(traces)}, faults


def _send(stack: LocalStack) -> None:
    kafka = stack.settings.kafka
    records = many_records(_OTHERS + 1)
    context = ("traceparent", f"00-{RECORD}-{_SPAN}-01".encode())
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    watch = CommitWatch(kafka)
    for number, record in enumerate(records):
        headers = [context] if number == _OTHERS // 2 else []
        producer.send(kafka.topics.manifests, encode_manifest(record), headers=headers)
    producer.close()
    deadline = time.monotonic() + _WAIT_S
    while watch.look(0.5) < len(records):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{watch.count} of {len(records)} results, and no more")
    watch.close()


def _request(port: int) -> None:
    clip = next(BASE.rglob("*.flac"))
    answer = httpx.post(
        f"http://127.0.0.1:{port}/v1/audio/transcriptions",
        files={"file": clip.read_bytes()},
        headers={"traceparent": f"00-{REQUEST}-{_SPAN}-01"},
        timeout=60,
    )
    answer.raise_for_status()
    if REQUEST not in answer.headers.get("traceresponse", ""):
        raise TimeoutError("the response does not name its trace")


def _wait(found: Collector) -> list[str]:
    """Wait until all spans have come; which have not."""
    deadline = time.monotonic() + _WAIT_S
    while True:
        missing = [
            f"the trace {trace[:8]} has no span `{name}`"
            for trace, names in ((RECORD, _OF_RECORD), (REQUEST, _OF_REQUEST))
            for name in sorted(names - {each.name for each in found.spans if each.trace == trace})
        ]
        if not missing or time.monotonic() > deadline:
            return missing
        time.sleep(0.5)


def main() -> int:
    console = Console(highlight=False, soft_wrap=True)
    return exit_code_of(lambda: run_trace(console.print), FAILURES, console)


if __name__ == "__main__":
    sys.exit(main())
