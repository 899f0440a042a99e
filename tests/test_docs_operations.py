"""What the pages for operators say of commands, metrics and machines is so."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
from typer.main import get_command

from deploy.local import ROOT
from deploy.observability.queries import RECORDED
from serve_app.telemetry.definitions import ALL
from workers.cli import app

DOCS = ROOT / "docs"
_CHORUS: Any = get_command(app)  # half a second
_SHELL = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)
_PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(chorus [^`]+)`")


def _commands(text: str) -> list[str]:
    """Every `chorus ...` of a page, in blocks and in the text."""
    lines = "".join(_SHELL.findall(text)).replace("\\\n", " ").splitlines()
    found = [line.strip() for line in [*lines, *_INLINE.findall(text)]]
    return [
        part.strip()
        for line in found
        if line.startswith("chorus ")
        for part in line.partition("#")[0].split("&&")
    ]


def _fault(command: str) -> str:
    """What `chorus` does not know of a command; nothing where it knows all of it."""
    known = _CHORUS
    words = shlex.split(command)[1:]
    while groups := getattr(known, "commands", None):
        if not words or words[0] not in groups:
            return f"no such command: {command}"
        known = groups[words.pop(0)]
    options = {name for parameter in known.params for name in parameter.opts}
    unknown = [word for word in words if word.startswith("-") and word not in options]
    return f"no such option: {unknown[0]} of {command}" if unknown else ""


@pytest.mark.parametrize("page", ["operations.md", "capacity.md", "runbook.md"])
def test_commands_and_options_exist(page: str) -> None:
    commands = _commands((DOCS / page).read_text())
    assert commands
    assert [fault for command in commands if (fault := _fault(command))] == []


def test_what_does_not_exist_is_found() -> None:
    assert _fault("chorus offsets list --json") == ""
    assert "no such command" in _fault("chorus offsets show")
    assert "--all" in _fault("chorus offsets list --all")


def test_metrics_of_alerts_exist() -> None:
    known = {metric.prometheus_name for metric in ALL}
    known |= {name.split(":")[1] for name in RECORDED}
    page = (DOCS / "operations.md").read_text()
    named = {name.removesuffix("_bucket") for name in re.findall(r"\bchorus_\w+[a-z]\b", page)}
    assert len(named) > 10
    assert named <= known


def test_the_table_of_machines_follows_from_the_formulas() -> None:
    page = (DOCS / "capacity.md").read_text()
    scope: dict[str, Any] = {}
    exec("".join(_PYTHON.findall(page)), scope)  # the page's own lines
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.splitlines()
        if re.match(r"\| [^|]+ \| `\w+` \|", line)
    ]
    sizes = [1e3, 1e5, 1e7]
    assert {name.strip("`") for _, name, *_ in rows} == set(scope["machines"](sizes[0]))
    for _, name, *cells in rows:
        expected = [scope["machines"](size)[name.strip("`")] for size in sizes]
        assert [float(cell.replace(",", "")) for cell in cells] == pytest.approx(expected, rel=0.02)
