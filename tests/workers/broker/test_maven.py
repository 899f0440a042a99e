"""Which repositories the jars come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.broker.maven import maven_context


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder and no configuration from the environment."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("JGO_CONFIG_FILE", "XDG_CONFIG_HOME", "M2_REPO"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def repositories(home: Path) -> dict[str, str]:
    return dict(maven_context(home / "downloads").remote_repos)


def write_mirror(home: Path, mirror_of: str) -> None:
    (home / ".m2").mkdir()
    (home / ".m2" / "settings.xml").write_text(
        '<settings xmlns="http://maven.apache.org/SETTINGS/1.2.0"><mirrors><mirror>'
        f"<id>inside</id><mirrorOf>{mirror_of}</mirrorOf><url>http://mirror.example/maven/</url>"
        "</mirror></mirrors></settings>"
    )


def test_maven_central_by_default(home: Path) -> None:
    assert list(repositories(home)) == ["central"]


@pytest.mark.parametrize("mirror_of", ["central", "*", "external:*", "*,!internal"])
def test_the_mirror_of_central_in_mavens_settings(home: Path, mirror_of: str) -> None:
    write_mirror(home, mirror_of)
    assert repositories(home) == {"inside": "http://mirror.example/maven"}


@pytest.mark.parametrize("mirror_of", ["another", "*,!central"])
def test_a_mirror_of_something_else_is_not_used(home: Path, mirror_of: str) -> None:
    write_mirror(home, mirror_of)
    assert list(repositories(home)) == ["central"]


def test_jgos_configuration_comes_first(home: Path) -> None:
    write_mirror(home, "central")
    (home / ".config").mkdir()
    (home / ".config" / "jgo.conf").write_text(
        "[repositories]\nours = http://ours.example/maven2\n"
    )
    assert repositories(home) == {"ours": "http://ours.example/maven2"}
