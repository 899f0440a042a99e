"""The reports of a folder: pages in HTML, and results in JSON."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Literal

import msgspec

from workers.evaluation.benchmarking.results import Benchmark
from workers.evaluation.comparison.results import Comparison
from workers.evaluation.report import render
from workers.evaluation.validation.results import Validation

#: What a file is: a page, a result of one of the commands, or JSON of something else.
Kind = Literal["page", "comparison", "validation", "benchmark", "other"]
#: Files that are listed, and the largest that is read, in bytes.
_MOST, _MAX_BYTES = 500, 32 << 20
#: Bytes of a page in which its title is.
_HEAD = 4096
_KINDS: dict[str, Kind] = {
    "checks": "validation",
    "differences": "comparison",
    "protocol": "benchmark",
}
_TITLE = re.compile(r"<title>(.*?)</title>", re.DOTALL | re.IGNORECASE)


class NoReportError(LookupError):
    """There is no such report; the message says what there is."""


@dataclass(frozen=True)
class Report:
    """A file of the folder.

    Attributes:
        name: of the file.
        kind: what it is.
        title: of a page; empty for results.
        modified: Unix time in seconds.
        bytes: its size.
    """

    name: str
    kind: Kind
    title: str
    modified: float
    bytes: int


class Reports:
    """The reports of a folder, not of those in it. Its methods block.

    Args:
        folder: on this machine.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def all(self) -> list[Report]:
        """The reports, the latest first.

        Raises:
            OSError: the folder cannot be read.
        """
        files = [each for each in self._folder.iterdir() if self._is_report(each)]
        files.sort(key=lambda each: -each.stat().st_mtime)
        return [self._report(each) for each in files[:_MOST]]

    def find(self, name: str) -> Report:
        """A report by its name.

        Raises:
            NoReportError: there is none.
            OSError: it cannot be read.
        """
        return self._report(self._path(name))

    def page(self, report: Report) -> bytes | None:
        """The HTML of a page, or of a comparison, which is rendered again; None for the others.

        Raises:
            OSError, ValueError: the file cannot be read, or holds something else.
        """
        path = self._path(report.name)
        if report.kind == "page":
            return path.read_bytes()
        if report.kind == "comparison":
            return render(Comparison.load(path)).encode()
        return None

    def validation(self, report: Report) -> Validation:
        """The result of `chorus validate`.

        Raises:
            OSError, ValueError: as `page`.
        """
        return Validation.load(self._path(report.name))

    def benchmark(self, report: Report) -> Benchmark:
        """The result of `chorus benchmark`.

        Raises:
            OSError, ValueError: as `page`.
        """
        return Benchmark.load(self._path(report.name))

    def text(self, report: Report) -> str:
        """A file as text.

        Raises:
            OSError: it cannot be read.
        """
        return self._path(report.name).read_text(errors="replace")

    def _path(self, name: str) -> Path:
        path = self._folder / name
        if "\0" in name or path.parent != self._folder or not self._is_report(path):
            raise NoReportError("there is no such report in `console.reports`")
        return path

    def _is_report(self, path: Path) -> bool:
        """Whether a file is one; a link that leads out of the folder is none."""
        return (
            path.suffix in (".html", ".json")
            and not path.name.startswith(".")
            and path.is_file()
            and path.resolve().is_relative_to(self._folder.resolve())
            and path.stat().st_size <= _MAX_BYTES
        )

    def _report(self, path: Path) -> Report:
        facts = path.stat()
        kind: Kind = "page" if path.suffix == ".html" else _kind_of(path.read_bytes())
        title = _title_of(path) if kind == "page" else ""
        return Report(path.name, kind, title, facts.st_mtime, facts.st_size)


def _title_of(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(_HEAD).decode(errors="replace")
    found = _TITLE.search(head)
    return unescape(found[1]).strip() if found else ""


def _kind_of(content: bytes) -> Kind:
    """What a file in JSON is, by the keys that only one kind of results has."""
    try:
        keys = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "other"
    return next((kind for key, kind in _KINDS.items() if key in keys), "other")
