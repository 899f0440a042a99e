"""A real Prometheus beside a running stream, first a healthy one, then one with faults.

While all is well but for a worker that is killed once, no alert fires. Then faults happen, one
after the other, and each alert that is due fires, by rules with shorter times. In the end every
metric has been seen, every query of every panel has found something, or says why it may not, no
record is lost, and sums over the worker's counters are compared with what the topics hold: they may
be a little low, never high.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
from kafka.errors import KafkaError
from msgspec.structs import replace
from rich.console import Console

from deploy.demo import SPEECH
from deploy.local import ChildDiedError, LocalStack
from deploy.observability.catalogue import DASHBOARDS
from deploy.observability.files import RULES
from deploy.observability.queries import filled
from serve_app.telemetry.definitions import ALL, DEAD_LETTERS, RECORDS, Metric
from tests.scenarios.alert_faults import FAULTS, MEMBERS, SPARE, fired
from tests.scenarios.audit import Audit, audit, uncommitted
from tests.scenarios.beside import beside
from tests.scenarios.outcome import exit_code_of
from tests.scenarios.prometheus import Prometheus, prometheus
from tests.scenarios.quick_rules import quick_rules
from tests.scenarios.ray_metrics import WINDOW, found_on_ray
from tests.scenarios.settings import BASE
from tests.scenarios.speech import many_records
from tests.scenarios.stream_watch import CommitWatch, Feed
from workers.broker.broker import BrokerError
from workers.broker.ports import free_ports

FAILURES = (ChildDiedError, BrokerError, KafkaError, TimeoutError, OSError, RuntimeError)
_STALL_S = 120.0
#: Records that wait while all is well, and how many are transcribed meanwhile.
_LEAD = 100
_HEALTHY = 800
#: One record in this many is broken where some are.
_BROKEN_EACH = 20
#: Clients of the API at once.
_CLIENTS = 4
#: Looks at the alerts while all is well.
_LOOKS = 3
_ABSENT = "absent.wav"
_COUNTERS = (RECORDS.prometheus_name, DEAD_LETTERS.prometheus_name)
#: Metrics that say nothing here, and why.
_SILENT = {
    "chorus_model_gpu_memory_bytes": "there is no GPU",
    "chorus_router_empty_texts_total": "the stand-in always hears something",
    "chorus_router_clipped_total": "the shipped speech is not clipped",
    "chorus_router_arms_total": "no rollout is under way",
    "chorus_quality_change": "the reference is not complete",
} | {each.prometheus_name: "no rollout is under way" for each in ALL if ".rollout." in each.name}


class Stream:
    """A stack with its feed and both servers; see `alert_faults.Running`.

    Args:
        stack: that runs.
        gate: file that stops a model.
        quick: a Prometheus whose rules have shorter times.
    """

    def __init__(self, stack: LocalStack, gate: Path, quick: Prometheus) -> None:
        self.stack, self.gate, self._quick = stack, gate, quick
        self._records = iter(many_records(50_000))
        self.ids: list[str] = []
        kafka = stack.settings.kafka
        self._feed, self._watch = Feed(kafka, []), CommitWatch(kafka)

    @property
    def done(self) -> int:
        """Results so far."""
        return self._watch.count

    def turn(self, waiting: int, *, broken: bool = False) -> None:
        """Let half a second pass; see `alert_faults.Running`."""
        missing = max(0, waiting - (len(self.ids) - self.done))
        more = list(islice(self._records, missing))
        if broken:
            more[::_BROKEN_EACH] = [
                replace(each, audio_filepath=_ABSENT) for each in more[::_BROKEN_EACH]
            ]
        self._feed.add(more)
        self._feed.up_to(len(self.ids) + len(more))
        self.ids += [each.id for each in more]
        self._watch.look(0.5)

    def until(self, done: Callable[[], bool], waiting: int = 0) -> None:
        """Go on until something is so.

        Raises:
            TimeoutError: no result comes any more.
        """
        last = time.monotonic()
        while not done():
            before = self.done
            self.turn(waiting)
            if self.done > before:
                last = time.monotonic()
            elif time.monotonic() - last > _STALL_S:
                raise TimeoutError(f"{self.done} of {len(self.ids)} results, and no more")

    def firing(self) -> set[str]:
        """See `alert_faults.Running`."""
        return self._quick.alerts("firing")

    def finish(self) -> None:
        """Wait until all that was sent is committed."""
        self._feed.finish()
        self.until(lambda: self.done >= len(self.ids))
        kafka = self.stack.settings.kafka
        self.until(lambda: uncommitted(kafka) == 0)

    def close(self) -> None:
        """Give up what is not sent."""
        self._feed.close()
        self._watch.close()


def run_observability(say: Callable[[str], None]) -> tuple[dict[str, Any], list[str]]:
    """Start everything, let it run, and look; returns the figures and what is wrong."""
    on_ray, missing = found_on_ray()
    say(f"{len(on_ray)} queries have found something on a cluster whose nodes serve the metrics")
    status, api = free_ports(2)
    with (
        tempfile.TemporaryDirectory() as name,
        LocalStack(_settings(Path(name), status, api), BASE) as stack,
    ):
        stack.start_broker()
        stack.start_serve()
        stack.wait_for_serve()
        targets = {"chorus-stream": status, "chorus": api}
        quick_file = quick_rules(Path(name) / "quick.yaml")
        with (
            prometheus(stack.folder / "usual", targets, RULES) as usual,
            prometheus(stack.folder / "quick", targets, quick_file) as quick,
            _clients(api),
        ):
            say("the stack and two Prometheus servers are up")
            stack.start_worker()
            stream = Stream(stack, Path(name) / "gate", quick)
            try:
                figures, faults = _watched(stream, usual, quick, on_ray, say)
            finally:
                stream.close()
            counted = sum(map(usual.counted, _COUNTERS))
        stack.stop_workers()
        findings = audit(stack.settings, stream.ids)
        stack.keep_folder = bool(faults)
    faults += [f"not found on Ray: {each}" for each in missing] + _unsound(findings, counted)
    told = findings.transcripts + len(findings.dead_lettered)
    figures |= {**findings.figures(), "results": told, "counted": counted}
    return figures, faults


def _watched(
    stream: Stream,
    usual: Prometheus,
    quick: Prometheus,
    on_ray: Collection[str],
    say: Callable[[str], None],
) -> tuple[dict[str, Any], list[str]]:
    """The healthy part, and the faults; the figures and what is wrong."""
    _healthy(stream)
    wrongly = _lasting_alerts(usual)
    say(f"{stream.done} results while all is well")
    due: set[str] = set()
    found: set[str] = set()
    for fault in FAULTS:
        begin = time.monotonic()
        found |= fired(stream, fault)
        due |= fault.due
        names = ", ".join(sorted(fault.due & found))
        say(f"{fault.name}: {names}, {time.monotonic() - begin:.0f} s")
        stream.until(lambda: len(stream.ids) - stream.done < 2 * _LEAD)
    stream.finish()
    unseen = {each.prometheus_name for each in ALL if not _is_seen(usual, each)}
    empty, silent = _empty_panels((usual, quick), on_ray)
    say(f"panels that say why they are empty: {', '.join(silent)}")
    broken = usual.broken_rules() + quick.broken_rules()
    said = {
        "never seen": unseen - _SILENT.keys(),
        "seen, and said to be silent": _SILENT.keys() - unseen,
        "rules that cannot be evaluated": broken,
        "alerts without a cause": wrongly,
        "alerts that did not fire": due - found,
        "panels without data": empty,
    }
    figures = {
        "metrics_defined": len(ALL),
        "metrics_seen": len(ALL) - len(unseen),
        "panels": sum(1 for board in DASHBOARDS for _ in board.panels()),
        "empty_panels": len(empty),
        "silent_panels": len(silent),
        "alerts": RULES.read_text().count("alert:"),
        "due": len(due),
        "fired_when_due": len(found),
        "fired_when_not": len(wrongly),
    }
    return figures, [f"{what}: {', '.join(sorted(names))}" for what, names in said.items() if names]


def _lasting_alerts(server: Prometheus) -> set[str]:
    """Alerts that fire, or would if what is so now lasted; not for a scrape that came late."""
    looks = []
    for _ in range(_LOOKS):
        time.sleep(3)
        looks.append(server.alerts("firing", "pending"))
    return set.intersection(*looks)


def _healthy(stream: Stream) -> None:
    """Records flow; in the middle the worker is killed and comes again."""
    stream.until(lambda: stream.done > _HEALTHY // 2, _LEAD)
    stream.stack.kill_worker("0")
    stream.stack.start_worker()
    begin = time.monotonic()
    # the lag is looked at every ten seconds
    stream.until(lambda: stream.done > _HEALTHY and time.monotonic() > begin + 25, _LEAD)


def _empty_panels(
    servers: Collection[Prometheus], on_ray: Collection[str]
) -> tuple[list[str], list[str]]:
    """Panels without data: those that should have some, and those that say why they have none.

    Args:
        servers: beside the stream.
        on_ray: queries that have found something on another cluster.
    """
    empty, silent = [], []
    for board in DASHBOARDS:
        for panel in board.panels():
            without = [
                query
                for query in panel.queries
                if query.expression not in on_ray
                and not any(each.has_found(filled(query.expression, WINDOW)) for each in servers)
            ]
            name = f"{board.uid}: {panel.title}"
            if any(not query.silent for query in without):
                empty.append(name)
            elif len(without) == len(panel.queries):
                silent.append(name)
    return empty, silent


def _is_seen(server: Prometheus, metric: Metric) -> bool:
    part = "_count" if metric.kind == "histogram" else ""
    return server.value(f"last_over_time({metric.prometheus_name}{part}[10m])") is not None


def _unsound(findings: Audit, counted: float) -> list[str]:
    """What is wrong with the topics, and with sums over the counters."""
    # broken records are dead letters, as they should be
    found = [each for each in findings.faults() if not each.startswith("dead_lettered")]
    told = findings.transcripts + len(findings.dead_lettered)
    if counted > told:
        found.append(f"{counted:.0f} records counted of {told}")
    return found


def _settings(folder: Path, status: int, api: int) -> dict[str, Any]:
    """Two models that vote, the first behind a gate, and one that they fall back to."""
    options: dict[str, dict[str, Any]]
    options = {name: {"delay_per_second": 0.002} for name in (*MEMBERS, SPARE)}
    options[MEMBERS[0]]["gate"] = str(folder / "gate")
    model = {"engine": "tests.standin:StandInEngine", "num_cpus": 0.1, "batch_seconds": 40}
    plan = {"ensemble": [*MEMBERS], "fallback": [SPARE], "fallback_after_s": 30}
    # the same clips come again and again, which would be judged as worse: no reference is complete
    quality = {"every_s": 5, "reference": 10_000, "max_records": 40_000}
    return {
        "models": {name: {**model, "options": given} for name, given in options.items()},
        "plans": {"both": plan},
        "routing": {"default": "both", "timeout_s": 10},
        "audio": {"roots": [SPEECH.name]},
        "serve": {"router_num_cpus": 0.1},
        "http": {"port": api, "num_cpus": 0.1, "timeout_s": 5},
        # short lists, so that results come in a steady flow while a model is slow
        "stream": {"status": {"port": status}, "batch_records": 16, "quality": quality},
    }


def _clients(port: int) -> contextlib.AbstractContextManager[None]:
    """Clients call the API now and then, whatever it answers."""
    clip = next(BASE.rglob("*.flac")).read_bytes()
    address = f"http://127.0.0.1:{port}/v1/audio/transcriptions"

    def call(over: threading.Event) -> None:
        while not over.wait(1):
            with contextlib.suppress(httpx.HTTPError):
                httpx.post(address, files={"file": ("a.flac", clip)}, timeout=20)

    return beside(call, _CLIENTS)


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    console = Console(highlight=False, soft_wrap=True)
    begin = time.monotonic()
    return exit_code_of(
        lambda: run_observability(
            lambda text: console.print(f"{time.monotonic() - begin:7.1f} s  {text}")
        ),
        FAILURES,
        console,
    )


if __name__ == "__main__":
    sys.exit(main())
