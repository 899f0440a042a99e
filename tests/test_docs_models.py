"""The walk-through of docs/models.md: its commands print what it says, its Python runs."""

from __future__ import annotations

import contextlib
import getpass
import io
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import CHORUS, ROOT
from tests.workers.stream.support import wait_until
from workers.cli import main

PAGE = (ROOT / "docs/models.md").read_text()
_SHOWN = re.compile(r"```bash\n([^`]*)```\n\nprints\n\n```\n(.*?)```", re.DOTALL)
_ENDS = re.compile(r"```bash\n([^`]*)```\n\nends with\n\n```\n(.*?)```", re.DOTALL)
_YAML = re.compile(r"In `chorus.yaml`:\n\n```yaml\n(.*?)```", re.DOTALL)
_PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d\+00:00)?")


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


@pytest.mark.nemo
@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(900)  # it trains a model
def test_the_whole_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    trained, first, second = _ENDS.findall(PAGE)
    for command in trained[0].splitlines():
        last = run(command)
    assert_ends(last, trained[1])
    (settings,) = _YAML.findall(PAGE)
    app = f"serve: {{app: {tmp_path.name}}}"  # other applications may run on this machine
    (tmp_path / "chorus.yaml").write_text(f"{settings}{app}\n")
    with serving():
        *commands, status = first[0].splitlines()
        for command in commands:
            run(command)
        wait_until(lambda: "under way" not in run(status), 60.0)  # as many looks as it takes
        assert_ends(run(status), first[1])
        for command in second[0].splitlines():
            last = run(command)
        assert_ends(last, second[1])


def run(command: str) -> str:
    """As `chorus`, in a process of its own: one process belongs to one cluster."""
    words = [*CHORUS, *shlex.split(command)[1:]]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextlib.contextmanager
def serving() -> Iterator[None]:
    """`chorus serve` in another terminal."""
    ready = Path("ready.json")
    with open("serve.log", "wb") as log:
        process = subprocess.Popen(
            [*CHORUS, "serve", "--ready-file", str(ready)], stdout=log, stderr=log
        )
    try:
        wait_until(lambda: ready.exists() or process.poll() is not None, 180.0)
        assert ready.exists(), Path("serve.log").read_text()
        yield
    finally:
        process.terminate()
        process.wait(60)


def assert_ends(printed: str, shown: str) -> None:
    """Check that `printed` has the lines of `shown`, one after the other."""
    lines, wanted = same_for_everybody(printed), same_for_everybody(shown)
    begin = lines.index(wanted[0])
    assert lines[begin : begin + len(wanted)] == wanted
