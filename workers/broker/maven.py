"""The Maven repositories that this machine uses."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from xml.etree import ElementTree

from jgo.config import GlobalSettings
from jgo.maven import MavenContext, PythonResolver

#: (name of a file, its size in bytes) -> context manager giving a function of bytes received
Meter = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]

_TIMEOUT_S = 30


def maven_context(download_folder: Path, meter: Meter | None = None) -> MavenContext:
    """Configure jgo: where it downloads from, and to.

    The repositories are the `[repositories]` of jgo's configuration (~/.config/jgo.conf or
    JGO_CONFIG_FILE), else the mirror of `central` in ~/.m2/settings.xml, else Maven Central.

    Args:
        download_folder: where downloaded files are put.
        meter: called for each file, to show progress.
    """
    repositories = GlobalSettings.load().repositories or _mirror_of_central()
    return MavenContext(
        resolver=PythonResolver(progress_callback=meter),
        repo_cache=download_folder,
        remote_repos=repositories,  # None is Maven Central
        timeout=_TIMEOUT_S,
    )


def local_repository() -> Path:
    """Maven's local repository on this machine: ~/.m2/repository, or M2_REPO."""
    return Path(GlobalSettings.load().repo_cache)


def _mirror_of_central() -> dict[str, str] | None:
    """The first mirror of `central` in Maven's user settings, if any.

    https://maven.apache.org/guides/mini/guide-mirror-settings.html
    """
    try:
        root = ElementTree.parse(Path.home() / ".m2" / "settings.xml").getroot()
    except (OSError, ElementTree.ParseError):
        return None
    for mirror in root.iterfind("./{*}mirrors/{*}mirror"):
        stands_for = {name.strip() for name in mirror.findtext("{*}mirrorOf", "").split(",")}
        url = mirror.findtext("{*}url", "").strip()
        if url and stands_for & {"central", "*", "external:*"} and "!central" not in stands_for:
            return {mirror.findtext("{*}id", "mirror").strip(): url.rstrip("/")}
    return None
