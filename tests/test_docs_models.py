"""The walk-through of docs/models.md: its commands print what it says, its Python runs."""

from __future__ import annotations

import contextlib
import getpass
import io
import re
import shlex
import sys
from pathlib import Path

import pytest

from deploy.local import ROOT
from workers.cli import main

PAGE = (ROOT / "docs/models.md").read_text()
_SHOWN = re.compile(r"```bash\n([^`]*)```\n\nprints\n\n```\n(.*?)```", re.DOTALL)
_PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d")


def chorus(command: str) -> str:
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.setattr(sys, "argv", shlex.split(command))
        with pytest.raises(SystemExit) as ended:
            main()
    assert not ended.value.code, command
    return out.getvalue()


def same_for_everybody(text: str) -> list[list[str]]:
    """The words of each line, without times and the user's name."""
    text = _TIME.sub("TIME", text).replace(getpass.getuser(), "root")
    return [line.split() for line in text.splitlines()]


@pytest.mark.nemo
@pytest.mark.slow
def test_the_walk_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    shown = _SHOWN.findall(PAGE)
    assert len(shown) >= 2
    for commands, output in shown:
        printed = "".join(chorus(line) for line in commands.splitlines())
        assert same_for_everybody(printed) == same_for_everybody(output)
    (program,) = _PYTHON.findall(PAGE)
    found: dict[str, object] = {}
    exec(program, found)
    assert found["path"] == tmp_path / "models/medical/1/model.nemo", "made later"
