"""Ray's own processes die while records flow: it is noticed, nothing is lost, nothing is left.

One after the other, each process that a cluster of `chorus serve` consists of is killed, `chorus
serve` itself, and the worker's connection to it. Where `chorus serve` ends, it must have ended
by itself or by the first SIGTERM, in bounded time, with all of its processes, and is started again;
the worker must go on with the new one. Afterwards a `read_committed` reader must find every record
exactly once. Ends with code 1 if it does not, and names the folder with the logs.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, get_args

import msgspec
import psutil
from kafka.errors import KafkaError
from rich.console import Console

from deploy.local import ChildDiedError, LocalStack
from tests.processes import command_of
from tests.scenarios.audit import Audit, audit, uncommitted
from tests.scenarios.outcome import exit_code_of
from tests.scenarios.settings import BASE, EngineName, fault_settings
from tests.scenarios.speech import many_records
from tests.scenarios.stream_watch import CommitWatch, Feed
from workers import exit_codes
from workers.broker.broker import BrokerError
from workers.broker.ports import free_ports


class Fault(msgspec.Struct, frozen=True):
    """A process to kill.

    Attributes:
        name: what it is, for people.
        command: a part of its command line.
        stop: whether `chorus serve` is sent SIGTERM at the same time.
        group: whether all of its process group is.
        left_s: how long a process may outlive `chorus serve`.
    """

    name: str
    command: str
    stop: bool = False
    group: bool = False
    left_s: float = 5.0


_SERVE = "-m workers.cli serve"
FAULTS = (
    Fault("the GCS", "/gcs_server"),
    Fault("the GCS, and SIGTERM", "/gcs_server", stop=True),
    Fault("the raylet", "/raylet/raylet"),
    Fault("the raylet, and SIGTERM", "/raylet/raylet", stop=True),
    Fault("the agent of runtime environments", "ray::RuntimeEnvAgent"),
    Fault("the agent of the dashboard", "ray::DashboardAgent"),
    Fault("Serve's controller", "ray::ServeController"),
    Fault("Serve's proxy", "ray::ProxyActor"),
    Fault("the fork server", "quick_start.fork_server"),
    Fault("the worker's connection", "serve_app.cluster.router_process"),
    # nobody is left to end Ray's agents, which tell a GCS that is gone for a minute that they end
    Fault("`chorus serve`", _SERVE, left_s=75.0),
    Fault("nothing, but SIGTERM", "", stop=True),
    Fault("nothing, but SIGTERM to the process group", "", stop=True, group=True),
)
#: Records produced ahead of each fault, so that work is in flight.
_LEAD = 60
#: Where a fault ends `chorus serve`, it has so long to notice; it may also do without the process.
_NOTICE_S = 15.0
#: Longest time from SIGTERM to the end.
_STOP_S = 30.0
#: Longest wait for the worker to go on.
_RECOVERY_S = 180.0


class NotRecoveredError(RuntimeError):
    """The worker does not go on after a fault."""


#: What ends a run early: it is reported, not shown as a traceback.
FAILURES = (NotRecoveredError, ChildDiedError, BrokerError, KafkaError, TimeoutError)


class RayFaults:
    """One run on a stack that is up, with one worker.

    Attributes:
        kills: faults so far.
        left_behind: processes that outlived their `chorus serve`, by name.
        unstoppable: faults after which SIGTERM did not end `chorus serve` in time.
        slowest_s: longest time from a fault to the end of `chorus serve`.
    """

    def __init__(self, stack: LocalStack, records: int, say: Callable[[str], None]) -> None:
        self.kills = 0
        self.left_behind: list[str] = []
        self.unstoppable: list[str] = []
        self.slowest_s = 0.0
        self._stack = stack
        self._say = say
        self._kafka = stack.settings.kafka
        self._records = many_records(records)
        self._feed = Feed(self._kafka, self._records)
        self._watch = CommitWatch(self._kafka)

    def run(self, faults: tuple[Fault, ...]) -> Audit:
        """Bring the faults about; returns when everything is committed and the worker has ended."""
        try:
            for fault in faults:
                self._go_on("results")
                self._bring_about(fault)
            self._feed.finish()
            self._until(lambda: self._watch.count >= len(self._records), "the last results")
            self._until(lambda: uncommitted(self._kafka) == 0, "the last commit")
            for code in self._stack.stop_workers().values():
                if code != exit_codes.OK:
                    raise ChildDiedError(f"the worker stopped with code {code}")
        finally:
            self._feed.close()
            self._watch.close()
        return audit(self._stack.settings, [record.id for record in self._records])

    def _bring_about(self, fault: Fault) -> None:
        serve = self._stack.serve
        processes = _tree(serve.pid)
        self._feed.up_to(self._feed.sent + _LEAD)
        everything = [*processes, *_tree(self._stack.workers["0"].pid)]
        victims = [each for each in everything if fault.command and _is(each, fault.command)]
        if fault.command and not victims:
            raise ChildDiedError(f"there is no process {fault.command} to kill")
        begin = time.monotonic()
        for victim in victims[:1]:
            victim.kill()
        if fault.stop:
            if fault.group:
                os.killpg(serve.pid, signal.SIGTERM)
            else:
                serve.send_signal(signal.SIGTERM)
        self.kills += 1
        # the death of what is none of its processes cannot end it
        notice_s = _NOTICE_S if set(victims[:1]) & set(processes) else 0.0
        ended = _ends(serve, _STOP_S if fault.stop else notice_s)
        took = time.monotonic() - begin
        if ended:
            self.slowest_s = max(self.slowest_s, took)
            self._say(f"{fault.name}: `chorus serve` ended after {took:.1f} s ({serve.returncode})")
        elif fault.stop:
            self.unstoppable.append(fault.name)
            self._say(f"{fault.name}: `chorus serve` ignores SIGTERM")
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            serve.wait()
        else:
            self._say(f"{fault.name}: `chorus serve` does without")
        if serve.poll() is not None:
            self._look_for_left(fault, processes)
            self._stack.start_serve()
            self._stack.wait_for_serve()
        begin = time.monotonic()
        self._go_on(f"the worker to go on after {fault.name}")
        self._say(f"    the worker went on within {time.monotonic() - begin:.1f} s")

    def _look_for_left(self, fault: Fault, processes: list[psutil.Process]) -> None:
        _, left = psutil.wait_procs(processes, fault.left_s)
        for process in left:
            name = " ".join(command_of(process))[:80]
            with contextlib.suppress(psutil.NoSuchProcess):
                self.left_behind.append(f"{fault.name}: {name}")
                process.kill()

    def _go_on(self, what: str) -> None:
        """Wait for another result, with work in flight."""
        before = self._watch.count
        self._feed.up_to(self._feed.sent + _LEAD)
        self._until(lambda: self._watch.count > before, what)

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _RECOVERY_S
        while not condition():
            self._watch.look()
            self._stack.check_worker("0")
            if time.monotonic() > deadline:
                raise NotRecoveredError(f"waited {_RECOVERY_S:.0f} s for {what}")


def _tree(pid: int) -> list[psutil.Process]:
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def _is(process: psutil.Process, command: str) -> bool:
    return command in " ".join(command_of(process)[:4])


def _ends(process: subprocess.Popen[bytes], timeout_s: float) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout_s)
    return process.returncode is not None


def run_ray_faults(
    faults: tuple[Fault, ...], engine: EngineName, say: Callable[[str], None]
) -> tuple[dict[str, Any], list[str]]:
    """Start a stack, bring `faults` about, stop it; returns the figures and what is wrong.

    Where something is wrong, the stack's folder with its logs is kept; the last fault names it.
    """
    begin = time.monotonic()

    def tell(text: str) -> None:
        say(f"{time.monotonic() - begin:7.1f} s  {text}")

    settings = fault_settings(engine)
    settings["http"] = {"port": free_ports(1)[0], "num_cpus": 0.1}  # for Serve's proxy
    with LocalStack(settings, BASE) as stack:
        try:
            stack.start_serve()
            stack.start_broker()
            stack.wait_for_serve()
            stack.start_worker()
            tell(f"the stack is up: {engine} model, one worker")
            faulty = RayFaults(stack, _LEAD * (3 * len(faults) + 1), tell)
            findings = faulty.run(faults)
        except Exception:
            stack.keep_folder = True
            tell(f"logs are kept in {stack.folder}")
            raise
        found = findings.faults()
        found += [f"left behind after {each}" for each in faulty.left_behind]
        found += [f"SIGTERM is ignored after {each}" for each in faulty.unstoppable]
        if found:
            stack.keep_folder = True
            found.append(f"look at the *.log files in {stack.folder}")
    figures = {
        "kills": faulty.kills,
        "lost": len(findings.lost),
        "duplicated": len(findings.duplicated),
        "left_behind": len(faulty.left_behind),
        "unstoppable": len(faulty.unstoppable),
        "dead_lettered": len(findings.dead_lettered),
        "records": findings.records,
        "slowest_end_s": round(faulty.slowest_s, 1),
        "engine": engine,
        "seconds": round(time.monotonic() - begin, 1),
    }
    return figures, found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=get_args(EngineName), default="nemo")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of the faults to bring about")
    given = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    numbers = range(len(FAULTS)) if given.only is None else given.only
    faults = tuple(FAULTS[number] for number in numbers)
    console.print(f"[bold]Ray's own processes die[/]: {len(faults)} faults to come")
    return exit_code_of(
        lambda: run_ray_faults(faults, given.engine, console.print), FAILURES, console
    )


if __name__ == "__main__":
    sys.exit(main())
