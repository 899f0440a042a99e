"""Hostile model files at every entry point ("door") that Chorus has for a model file.

Each must be refused, with a message that names the file, and none of its code may run: that code
would leave a mark, a file. Then NeMo itself is given those whose code it runs, which shows that the
marks are real. Ends with code 1 if that is not so, and names the files.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from deploy.demo import MODELS
from deploy.local import ROOT
from tests.commands import Commands
from tests.scenarios.hostile_archives import KINDS, NEMO_RUNS, Site
from tests.scenarios.hostile_doors import CONTROL, DOORS, REFUSED, SLOW
from tests.serve_app.engines.nemo.archives import read_members

Say = Callable[[str], None]

_DOOR_TIMEOUT_S = 1800.0
_DOORS_AT_ONCE = 2
#: What no refusal may hold: a program's inside, a password file.
_SECRETS = ("Traceback", 'File "', "root:x:")


class Trial(NamedTuple):
    """One file at one door.

    Attributes:
        said: what the door said; its first line is enough for people.
        executed: whether code of the file ran.
    """

    door: str
    kind: str
    code: int
    said: str
    executed: bool

    @property
    def refused(self) -> bool:
        """Whether the file was refused, by name and in words for people."""
        told = file_of(self.kind) in self.said
        return self.code == REFUSED and told and not any(each in self.said for each in _SECRETS)


def file_of(kind: str) -> str:
    """Name of the file of a kind."""
    return f"{kind.replace(' ', '-').replace(',', '')}.nemo"


class Files:
    """The files of all kinds, each in a folder of its own."""

    def __init__(self, folder: Path, kinds: Sequence[str]) -> None:
        self._folder = folder
        members = read_members(MODELS / "medical.nemo")
        for kind in kinds:
            place = self._place(kind)
            place.mkdir()
            self.model(kind).write_bytes(KINDS[kind](Site(members, self._mark(kind), place)))

    def model(self, kind: str) -> Path:
        return self._place(kind) / file_of(kind)

    def take_mark(self, kind: str) -> bool:
        """Whether code of the file has run; asked again, whether it has run since."""
        mark = self._mark(kind)
        found = mark.exists()
        mark.unlink(missing_ok=True)
        return found

    def _place(self, kind: str) -> Path:
        return self._folder / Path(file_of(kind)).stem

    def _mark(self, kind: str) -> Path:
        return self._place(kind) / "mark"


def try_door(commands: Commands, door: str, kinds: Sequence[str], folder: Path) -> list[Trial]:
    """Bring files of `kinds`, made in `folder`, to a door, in a process of its own.

    Raises:
        RuntimeError: that process died of one of them.
    """
    files = Files(folder, kinds)
    names, answers = folder / "files", folder / "answers"
    names.write_text("".join(f"{files.model(kind)}\n" for kind in kinds))
    answers.touch()
    arguments = ["tests.scenarios.hostile_doors", door, f"{names}", f"{answers}"]
    done = commands.run(*arguments, cwd=ROOT, timeout=_DOOR_TIMEOUT_S)
    found = [json.loads(line) for line in answers.read_text().splitlines()]
    if done.returncode or len(found) != len(kinds):
        end = (done.stdout + done.stderr)[-2000:]
        raise RuntimeError(f"the door {door} fell at file {len(found)} of {len(kinds)}: {end}")
    return [
        Trial(door, kind, each["code"], each["said"], files.take_mark(kind))
        for kind, each in zip(kinds, found, strict=True)
    ]


def kinds_of(door: str) -> list[str]:
    """The kinds to try at a door: all of them, or a selection where a trial is slow.

    The selection has all kinds whose code NeMo runs, and every third of the others.
    """
    if door not in SLOW:
        return list(KINDS)
    others = [kind for kind in KINDS if kind not in NEMO_RUNS]
    return [kind for kind in KINDS if kind in NEMO_RUNS or kind in others[::3]]


def run_hostile_models(
    commands: Commands, doors: Mapping[str, Sequence[str]], say: Say
) -> tuple[dict[str, int], list[Trial], list[str]]:
    """Bring files to doors, two doors at a time.

    Args:
        commands: runs the doors.
        doors: by door, the kinds to try.

    Returns:
        The figures, every trial, and what is wrong, a line for each.
    """
    trials: list[Trial] = []
    with tempfile.TemporaryDirectory(prefix="chorus-hostile-") as root:

        def try_one(door: str) -> list[Trial]:
            folder = Path(root, door)
            folder.mkdir()
            tried = try_door(commands, door, doors[door], folder)
            say(f"{door}: {sum(each.refused for each in tried)} of {len(tried)} refused")
            return tried

        with ThreadPoolExecutor(_DOORS_AT_ONCE) as threads:
            for tried in threads.map(try_one, doors):
                trials += tried
        folder = Path(root, CONTROL)
        folder.mkdir()
        run = sorted(NEMO_RUNS.intersection(*doors.values()))
        silent = [
            each.kind for each in try_door(commands, CONTROL, run, folder) if not each.executed
        ]
        say(f"control: NeMo itself runs the code of {len(run) - len(silent)} of {len(run)}")
    faults = [
        f"{each.kind} at {each.door}: {'its code ran' if each.executed else _end(each.said)}"
        for each in trials
        if each.executed or not each.refused
    ]
    faults += [f"{kind}: NeMo does not run its code, so a refusal shows nothing" for kind in silent]
    figures = {
        "doors": len(doors),
        "tried": len(trials),
        "refused": sum(each.refused for each in trials),
        "executed": sum(each.executed for each in trials),
    }
    return figures, trials, faults


def _end(said: str) -> str:
    return next(iter(said.strip().splitlines()[-1:]), "it was taken")[:300]


def make_table(trials: Sequence[Trial]) -> Table:
    """What each kind was answered with, at the first door."""
    table = Table("file", "doors that refuse it", "what the first one says", title="Hostile models")
    for kind in dict.fromkeys(each.kind for each in trials):
        tried = [each for each in trials if each.kind == kind]
        refused = sum(each.refused for each in tried)
        said = tried[0].said.rpartition(file_of(kind))[2].strip(": ").splitlines() or [""]
        style = "red" if refused < len(tried) or any(each.executed for each in tried) else None
        table.add_row(kind, f"{refused} of {len(tried)}", said[0][:90], style=style)
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--door", choices=DOORS, action="append", help="only this entry point; repeatable"
    )
    parser.add_argument("--full", action="store_true", help="all kinds at the slow ones too")
    given = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    begin = time.monotonic()
    doors = given.door or sorted(DOORS, key=SLOW.__contains__, reverse=True)
    with Commands() as commands:
        figures, trials, faults = run_hostile_models(
            commands,
            {door: list(KINDS) if given.full else kinds_of(door) for door in doors},
            lambda text: console.print(f"{time.monotonic() - begin:7.1f} s  {text}"),
        )
    console.print(make_table(trials))
    for fault in faults:
        console.print(f"wrong: {fault}", style="red", markup=False)
    print(json.dumps(figures))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
