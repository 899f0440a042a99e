"""Hostile requests among sound ones, against the HTTP API of a real `chorus serve`.

Every hostile request must be refused with a status from 400 to 499 that fits it, or, where it is a
manifest, with an error for each of its lines; every sound one must be answered as before; no
process may die, no request may be counted as a fault of the API's own, and none may be left under
way. Ends with code 1 if that is not so, and names the kinds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, get_args

import psutil
from rich.console import Console
from rich.table import Table

from deploy.demo import SPEECH
from deploy.local import ChildDiedError, LocalStack
from schemas.settings import AudioSettings, HttpSettings
from serve_app.audio import AudioLoader
from tests.processes import command_of
from tests.scenarios.bad_kinds import MAX_SECONDS
from tests.scenarios.hostile_requests import (
    INJECTED,
    MAIN,
    MAX_UPLOAD_BYTES,
    NARROW,
    POOR,
    Answer,
    Kind,
    Site,
    ask,
    converse,
    error_of,
    head,
    hostile_kinds,
)
from tests.scenarios.replicas import replicas
from tests.scenarios.settings import BASE, EngineName, fault_settings
from tests.scenarios.speech import shipped_records
from workers.broker.ports import free_ports

Say = Callable[[str], None]

#: Hostile requests between two sound ones.
_EVERY = 5
#: Seconds that a body has to arrive.
_UPLOAD_S = 3.0
#: Descriptors that a replica may hold more at the end than at the start.
_SPARE_DESCRIPTORS = 10
#: What no answer may hold: a password file, a program's inside.
_SECRETS = (b"root:x:", b"Traceback", b'File "')
_PROXY = "ProxyActor"


class Outcome(NamedTuple):
    """A kind, its answer, and what is wrong with that."""

    kind: Kind
    answer: Answer
    faults: list[str]

    @property
    def refused(self) -> bool:
        """Whether it was refused, as a whole or line by line."""
        status = self.answer.status
        return 400 <= status < 500 or (status == 200 and error_of(self.answer) is not None)


def scenario_settings(engine: EngineName) -> dict[str, Any]:
    """One model and the API, with limits that are soon reached."""
    settings = fault_settings(engine, replicas=1)
    settings["audio"]["max_seconds"] = MAX_SECONDS
    settings["http"] = {
        "port": free_ports(1)[0],
        "num_cpus": 0.1,
        "max_upload_bytes": MAX_UPLOAD_BYTES,
        "upload_timeout_s": _UPLOAD_S,
        "keys": {
            "main": {"sha256": hashlib.sha256(MAIN).hexdigest(), "max_concurrent": 32},
            "narrow": {"sha256": hashlib.sha256(NARROW).hexdigest(), "max_concurrent": 1},
            "poor": {"sha256": hashlib.sha256(POOR).hexdigest(), "audio_seconds_per_minute": 1.0},
        },
    }
    return settings


def run_hostile_http(
    engine: EngineName, say: Say
) -> tuple[dict[str, int], list[Outcome], list[str]]:
    """Send every kind to a stack of its own and stop it.

    Returns:
        The figures, what became of each kind, and what is wrong, a line for each. Where something
        is, the stack's folder is kept, and the last line names it.
    """
    with LocalStack(scenario_settings(engine), BASE) as stack:
        stack.start_serve()
        kinds = hostile_kinds()
        site = _make_site(stack)
        stack.wait_for_serve()
        say(f"the API is up: {engine} model; {len(kinds)} kinds to send")
        ask(site)  # Ray's connections to the Router are made by the first request
        before = _processes(stack)
        descriptors = _descriptors(stack)
        outcomes, faults = send_all(site, kinds, say)
        died = before - _processes(stack)
        faults += [f"{name}: process {pid} did not live through it" for name, pid in sorted(died)]
        faults += _left_over(site)
        if (more := _descriptors(stack) - descriptors) > _SPARE_DESCRIPTORS:
            faults.append(f"the API holds {more} more open files than before")
        stack.check_all()
        if faults:
            stack.keep_folder = True
            faults.append(f"look at the *.log files in {stack.folder}")
    figures = {
        "tried": len(outcomes),
        "answered_4xx": sum(outcome.refused for outcome in outcomes),
        "crashes": len(died),
    }
    return figures, outcomes, faults


def _make_site(stack: LocalStack) -> Site:
    http = stack.settings.http or HttpSettings()
    loader = AudioLoader(AudioSettings(roots=[str(SPEECH)]))
    return Site((http.host, http.port), loader.load(shipped_records()[0].audio_filepath))


def _processes(stack: LocalStack) -> set[tuple[str, int]]:
    """Every replica and the proxy, by name and process."""
    found = {(name, p.pid) for name, each in replicas(stack).items() for p in each}
    return found | {
        (_PROXY, process.pid)
        for process in stack.processes()
        if " ".join(command_of(process)).startswith(f"ray::{_PROXY}")
    }


def _descriptors(stack: LocalStack) -> int:
    """Open files of the API's replica."""
    (process,) = replicas(stack)["Http"]
    return psutil.Process(process.pid).num_fds()


# -- the run ------------------------------------------------------------------------------------


def send_all(site: Site, kinds: Sequence[Kind], say: Say) -> tuple[list[Outcome], list[str]]:
    """Send `kinds`, a sound request after every few; returns the outcomes and what is wrong."""
    sound = ask(site)
    if sound.status != 200:
        return [], [f"the first request, a sound one, is answered with {_told(sound)}"]
    patient = [kind for kind in kinds if kind.patient]
    others = [kind for kind in kinds if not kind.patient]
    with ThreadPoolExecutor(len(patient) or 1) as threads:
        waiting = threads.map(lambda kind: _try(site, kind), patient)
        outcomes: list[Outcome] = []
        faults: list[str] = []
        for number, kind in enumerate(others, 1):
            outcomes.append(_try(site, kind))
            if number % _EVERY == 0 or number == len(others):
                answer = ask(site)
                if (answer.status, answer.body) != (sound.status, sound.body):
                    faults.append(f"after {kind.name} a sound request has {_told(answer)}")
            if number % 100 == 0:
                say(f"{number} of {len(kinds)} sent")
        outcomes += waiting
    faults += [f"{each.kind.name}: {'; '.join(each.faults)}" for each in outcomes if each.faults]
    return outcomes, faults


def _try(site: Site, kind: Kind) -> Outcome:
    try:
        answer = kind.send(site)
    except OSError as error:
        answer = Answer(0, {}, repr(error).encode())
    return Outcome(kind, answer, list(_faults(kind, answer)))


def _faults(kind: Kind, answer: Answer) -> Iterator[str]:
    if answer.status not in kind.expected:
        yield f"{_told(answer)}, expected {_statuses(kind)}"
    elif answer.head.get("content-type", "").startswith("application/") and not error_of(answer):
        yield f"{_told(answer)}, without an error"
    if INJECTED.decode() in answer.head:
        yield "a header of the request became one of the answer"
    if any(secret in answer.body for secret in _SECRETS):
        yield "the answer tells too much"


def _left_over(site: Site) -> Iterator[str]:
    """What the API itself counts, and should not."""
    answer = converse(site, [head(b"GET /metrics HTTP/1.1")])
    for line in answer.body.decode().splitlines():
        name, _, value = line.rpartition(" ")
        if name.startswith("chorus_http_requests_total") and 'status="5' in name:
            yield f"the API counts {float(value):g} faults of its own: {name}"
        elif name == "chorus_http_requests_under_way" and float(value) != 1:  # this one
            yield f"{float(value) - 1:g} requests are still under way"


# -- what is told -------------------------------------------------------------------------------


def _told(answer: Answer) -> str:
    if not answer.status:
        return f"no answer ({answer.body.decode()})"
    code = error_of(answer)
    return f"{answer.status} {code}" if code else str(answer.status)


def _statuses(kind: Kind) -> str:
    return " or ".join(map(str, kind.expected))


def make_table(outcomes: Sequence[Outcome]) -> Table:
    """What every kind was answered with."""
    table = Table("kind", "answer", "expected", title="Hostile requests")
    for each in outcomes:
        style = "red" if each.faults else None
        table.add_row(each.kind.name, _told(each.answer), _statuses(each.kind), style=style)
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=get_args(EngineName), default="nemo")
    given = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    begin = time.monotonic()
    try:
        figures, outcomes, faults = run_hostile_http(
            given.engine, lambda text: console.print(f"{time.monotonic() - begin:7.1f} s  {text}")
        )
    except (ChildDiedError, TimeoutError) as error:
        console.print(f"[red]failed:[/] {error}")
        return 1
    console.print(make_table(outcomes))
    for fault in faults:
        console.print(f"[red]wrong:[/] {fault}")
    print(json.dumps(figures))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
