"""Where the CPU time of a record goes: by process and, in Python, by function.

A stream runs from topic to topic with one model, the demo's or a stand-in that takes no time. What
each process took is its CPU time, as the system counts it; py-spy, which Ray brings along, looks
into the Python processes a hundred times a second and leaves out threads that wait. The time of a
process is divided among its functions by how often they were seen: `self_ms` in the function
itself, with what it calls in C, and `total_ms` with the Python functions that it calls.

py-spy must be allowed to look into other processes: as root, or with
`sysctl kernel.yama.ptrace_scope=0`. Where it is not, the table is of processes only.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from rich.console import Console
from rich.table import Table

from deploy.local import LocalStack
from tests.scenarios.bench import (
    FORMATS,
    PARTS,
    cores,
    part_of,
    produce,
    stand_in_settings,
    stream_settings,
    wait_for_commit,
    write_speech,
)
from tests.scenarios.speech import manifest_records, repeated

#: Records before the first that counts: the JVM and the caches grow warm.
_WARM_UP = 1_200
#: Records behind the last that counts, so that everything works until the end.
_BEHIND = 600
_PY_SPY = Path(sys.executable).with_name("py-spy")
_SAMPLES_A_SECOND = 100
_FUNCTIONS = 15  # of a part, in the table
_ROOT = Path(__file__).resolve().parents[2]

console = Console(stderr=True, highlight=False)


class Function(NamedTuple):
    """What a function of a part took of a record."""

    name: str
    self_ms: float
    total_ms: float


class Watch:
    """py-spy beside a process, from now until `stop`."""

    def __init__(self, process: psutil.Process, folder: Path) -> None:
        self._file = folder / f"{process.pid}.raw"
        command = [
            *(str(_PY_SPY), "record", "--pid", str(process.pid), "--output", str(self._file)),
            *("--format", "raw", "--function", "--full-filenames", "--nonblocking"),
            *("--rate", str(_SAMPLES_A_SECOND), "--duration", "3600"),
        ]
        self._spy = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def stop(self) -> list[tuple[list[str], int]]:
        """The stacks that were seen, the innermost function last, and how often each was."""
        self._spy.send_signal(signal.SIGINT)
        self._spy.wait(60)
        if not self._file.exists():
            return []
        lines = [line.rpartition(" ") for line in self._file.read_text().splitlines()]
        return [(stack.split(";"), int(count)) for stack, _, count in lines]


def functions_of(stacks: Iterable[tuple[list[str], int]], milliseconds: float) -> list[Function]:
    """`milliseconds` divided among the functions of `stacks`, the most expensive first."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for stack, count in stacks:
        frames = [frame for frame in stack if frame]
        names = [_name(each) for each in frames if not each.startswith(("thread ", "process "))]
        if names:
            own[names[-1]] += count
            total.update(dict.fromkeys(names, count))
    seen = sum(own.values())
    return [
        Function(name, milliseconds * own[name] / seen, milliseconds * count / seen)
        for name, count in sorted(total.items(), key=lambda each: (-own[each[0]], -each[1]))
    ]


def _name(frame: str) -> str:
    """A function as `package/module.py function`, without the folders of this machine."""
    found = re.fullmatch(r"(.+) \((.+?)(:\d+)?\)", frame)
    if found is None:
        return frame
    path = re.sub(r"^.*/(site-packages|lib/python[\d.]+)/", "", found[2])
    return f"{path.removeprefix(f'{_ROOT}/')} {found[1]}"


def measure(folder: Path, settings: dict[str, Any], speech: Path, records: int) -> dict[str, Any]:
    """CPU-ms a record by part and by function, over `records` records."""
    total = _WARM_UP + records + _BEHIND
    with LocalStack(settings, speech) as stack:
        stack.start_serve()
        stack.start_broker()
        stack.wait_for_serve()
        produce(stack.settings, repeated(manifest_records(speech), total))
        stack.start_worker()
        first = wait_for_commit(stack, _WARM_UP)
        processes = {process: part_of(process) for process in stack.processes()}
        before, begin = {each: _cpu_s(each) for each in processes}, time.monotonic()
        watches = {
            process: Watch(process, folder)
            for process, part in processes.items()
            if part not in {"broker", "ray"} and _PY_SPY.exists()
        }
        last = wait_for_commit(stack, _WARM_UP + records)
        seconds = time.monotonic() - begin
        after = {each: _cpu_s(each) for each in processes}
        stacks = {process: watch.stop() for process, watch in watches.items()}
    parts = dict.fromkeys([*PARTS, "ray"], 0.0)
    functions: dict[str, list[Function]] = {}
    for process, part in processes.items():
        spent = 1000 * (after[process] - before[process]) / (last - first)
        parts[part] += spent
        found = functions_of(stacks.get(process, []), spent)
        functions[part] = added(functions.get(part, []), found)
    return {
        "records": last - first,
        "records_per_s": round((last - first) / seconds, 1),
        "cpu_ms": {part: round(each, 3) for part, each in parts.items()},
        "functions": {
            part: [
                {
                    "function": each.name,
                    "self_ms": round(each.self_ms, 4),
                    "total_ms": round(each.total_ms, 4),
                }
                for each in found[:_FUNCTIONS]
            ]
            for part, found in functions.items()
            if found
        },
    }


def added(some: list[Function], more: list[Function]) -> list[Function]:
    """The functions of two processes of a part, the most expensive first."""
    known = {each.name: each for each in some}
    for each in more:
        own = known.get(each.name, Function(each.name, 0.0, 0.0))
        known[each.name] = Function(
            each.name, own.self_ms + each.self_ms, own.total_ms + each.total_ms
        )
    return sorted(known.values(), key=lambda each: (-each.self_ms, -each.total_ms))


def _cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def show(figures: dict[str, Any]) -> None:
    """The figures as tables."""
    table = Table("part", "CPU-ms a record", title="By process")
    for part, each in figures["cpu_ms"].items():
        table.add_row(part, f"{each:.3f}")
    console.print(table)
    for part, functions in figures["functions"].items():
        table = Table("function", "self", "total", title=f"{part}: CPU-ms a record")
        for each in functions:
            table.add_row(each["function"], f"{each['self_ms']:.3f}", f"{each['total_ms']:.3f}")
        console.print(table)
    if not figures["functions"]:
        console.print("No functions: py-spy may not look into other processes, see above.")


def main() -> int:
    """Run the stream, print the tables and, last, the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=3_000)
    parser.add_argument("--format", choices=FORMATS, default="wav", help="of the stream's audio")
    parser.add_argument("--engine", choices=("demo", "stand-in"), default="demo")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chorus-profile-") as name:
        folder = Path(name)
        write_speech(folder, [options.format])
        speech = folder / options.format
        stand_in = options.engine == "stand-in"
        settings = stand_in_settings(speech) if stand_in else stream_settings(speech, cores())
        figures = measure(folder, settings, speech, options.records)
    show(figures)
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
