"""An outage is not a dead letter: a minute without a single model replica, while records flow.

The worker must pause, give nothing up, and go on by itself when the models are back. Ends with
code 1 if it does not, and names the folder with the logs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any, get_args

import msgspec
from kafka.errors import KafkaError
from rich.console import Console

from deploy.local import ChildDiedError, LocalStack
from tests.scenarios.audit import Audit, audit, uncommitted
from tests.scenarios.outcome import exit_code_of
from tests.scenarios.replicas import kill_models
from tests.scenarios.settings import BASE, EngineName, fault_settings
from tests.scenarios.speech import many_records
from tests.scenarios.stream_watch import CommitWatch, Feed
from workers import exit_codes
from workers.broker.broker import BrokerError

#: Log lines of the worker that say that it pauses, and that it goes on.
_PAUSES = "fetching rests until it answers again"
_GOES_ON = "fetching goes on"
#: Results of calls that were under way when the last replica died may still be committed.
_GRACE_S = 5.0
#: Longest time from the end of the outage to the last result.
_RECOVERY_S = 300.0


class NotRecoveredError(RuntimeError):
    """The worker does not go on after the outage."""


#: What ends a run early: it is reported, not shown as a traceback.
FAILURES = (NotRecoveredError, ChildDiedError, BrokerError, KafkaError, TimeoutError)


class Outage(msgspec.Struct, kw_only=True):
    """What happened in the outage.

    Attributes:
        kills: replicas that were killed.
        outage_s: length of the outage.
        committed_in_outage: results committed in it, after its first few seconds.
        recovered_s: from its end to the first result after it.
    """

    kills: int = 0
    outage_s: float = 0.0
    committed_in_outage: int = 0
    recovered_s: float = 0.0


def run_outage(
    records: int, outage_s: float, engine: EngineName, say: Callable[[str], None]
) -> tuple[dict[str, Any], list[str]]:
    """Start a stack, keep its models down for `outage_s`, let it recover, stop it.

    Returns the figures and what is wrong. Where something is, the stack's folder is kept, and
    the last fault names it.
    """
    settings = fault_settings(engine)
    # calls fail within the outage, so that the circuit breaker has to do its work
    settings["routing"]["timeout_s"] = max(5.0, outage_s / 6)
    with LocalStack(settings, BASE) as stack:
        try:
            stack.start_serve()
            stack.start_broker()
            stack.wait_for_serve()
            stack.start_worker()
            say(f"the stack is up: {engine} model, one worker")
            seen, findings = _run_through(stack, records, outage_s, say)
        except Exception:
            stack.keep_folder = True
            say(f"logs are kept in {stack.folder}")
            raise
        faults = findings.faults()
        log = stack.log("worker-0")
        faults += [
            f'the worker never logged "{line}"' for line in (_PAUSES, _GOES_ON) if line not in log
        ]
        if seen.committed_in_outage:
            faults.append(f"{seen.committed_in_outage} results committed without a model")
        if faults:
            stack.keep_folder = True
            faults.append(f"look at the *.log files in {stack.folder}")
    figures = {
        **findings.figures(),
        "outage_s": round(seen.outage_s, 1),
        "recovered_s": round(seen.recovered_s, 1),
        "replica_kills": seen.kills,
        "engine": engine,
    }
    return figures, faults


def _run_through(
    stack: LocalStack, count: int, outage_s: float, say: Callable[[str], None]
) -> tuple[Outage, Audit]:
    kafka = stack.settings.kafka
    records = many_records(count)
    feed, watch = Feed(kafka, records), CommitWatch(kafka)
    seen = Outage()
    try:
        feed.up_to(count // 4)
        _wait(stack, watch, lambda: watch.count > 0, "the first results")
        say(f"{watch.count} of {feed.sent} records transcribed; now the models go down")
        _keep_down(stack, watch, feed, count, outage_s, seen)
        say(f"{seen.kills} replicas killed in {seen.outage_s:.0f} s; now they may come back")
        end, before = time.monotonic(), watch.count
        _wait(stack, watch, lambda: watch.count > before, "the first result after the outage")
        seen.recovered_s = time.monotonic() - end
        say(f"the worker went on after {seen.recovered_s:.1f} s")
        feed.finish()
        _wait(stack, watch, lambda: watch.count >= count, "the last results")
        _wait(stack, watch, lambda: uncommitted(kafka) == 0, "the last commit")
        for code in stack.stop_workers().values():
            if code != exit_codes.OK:
                raise ChildDiedError(f"the worker stopped with code {code}")
    finally:
        feed.close()
        watch.close()
    return seen, audit(stack.settings, [record.id for record in records])


def _keep_down(
    stack: LocalStack,
    watch: CommitWatch,
    feed: Feed,
    count: int,
    outage_s: float,
    seen: Outage,
) -> None:
    """Kill every model replica whenever one appears; half of the records come meanwhile."""
    feed.up_to(count // 2)  # so that calls are under way
    watch.look()
    begin = time.monotonic()
    settled: int | None = None
    while (passed := time.monotonic() - begin) < outage_s:
        seen.kills += kill_models(stack)
        feed.up_to(int(count * (0.5 + 0.4 * passed / outage_s)))
        watch.look()
        if settled is None and passed > min(_GRACE_S, outage_s / 2):
            settled = watch.count
        stack.check_all()
    seen.outage_s = time.monotonic() - begin
    seen.committed_in_outage = watch.count - (watch.count if settled is None else settled)


def _wait(stack: LocalStack, watch: CommitWatch, condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _RECOVERY_S
    while not condition():
        watch.look()
        stack.check_all()
        if time.monotonic() > deadline:
            raise NotRecoveredError(f"waited {_RECOVERY_S:.0f} s for {what}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the outage")
    parser.add_argument("--records", type=int, default=600)
    parser.add_argument("--engine", choices=get_args(EngineName), default="nemo")
    given = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    begin = time.monotonic()
    return exit_code_of(
        lambda: run_outage(
            given.records,
            given.seconds,
            given.engine,
            lambda text: console.print(f"{time.monotonic() - begin:7.1f} s  {text}"),
        ),
        FAILURES,
        console,
    )


if __name__ == "__main__":
    sys.exit(main())
