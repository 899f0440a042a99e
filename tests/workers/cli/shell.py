"""The `chorus` command in this process."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.settings import Settings
from workers.cli import main


def chorus(
    *arguments: str | Path, cwd: Path | None = None, settings: str | Path | None = None
) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run` of `chorus`, without the start of a process.

    Args:
        *arguments: of the command.
        cwd: its folder; that of the tests if none is given.
        settings: what `CHORUS_SETTINGS` says; nothing if none is given.
    """
    command = ["chorus", *map(str, arguments)]
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(sys, "argv", command)
        patch.setattr(sys, "path", [*sys.path])
        patch.delenv("CHORUS_SETTINGS", raising=False)
        if settings is not None:
            patch.setenv("CHORUS_SETTINGS", str(settings))
        if cwd is not None:
            patch.chdir(cwd)
        with pytest.raises(SystemExit) as ended:
            main()
    code = ended.value.code
    assert code is None or isinstance(code, int)
    return subprocess.CompletedProcess(command, code or 0, out.getvalue(), err.getvalue())


class Shell:
    """`chorus` with some settings."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._file = folder / "chorus.yaml"
        self._file.write_bytes(msgspec.yaml.encode(settings))

    def run(self, *arguments: str, code: int = 0) -> str:
        """What is printed, on standard error where the command is to fail."""
        done = self._done(*arguments, code=code)
        return done.stderr if code else done.stdout

    def output(self, *arguments: str, code: int = 0) -> str:
        """What is printed on standard output, whatever the exit code is to be."""
        return self._done(*arguments, code=code).stdout

    def _done(self, *arguments: str, code: int) -> subprocess.CompletedProcess[str]:
        done = chorus(*arguments, "--settings", self._file)
        assert done.returncode == code, done.stderr
        return done

    def json_lines(self, *arguments: str) -> list[dict[str, Any]]:
        """What is printed with `--json`."""
        return [json.loads(line) for line in self.run(*arguments, "--json").splitlines()]
