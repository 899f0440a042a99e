"""Links in the pages, and the paths that they name, lead to something."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from deploy.local import ROOT
from tests.anchors import leads_somewhere, prose

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_BACKTICKED = re.compile(r"`([^`\n]+)`")
#: A path of folders and a name, without placeholders and wildcards.
_PATH = re.compile(r"\.?[\w-]+(/[\w.-]+)+/?")


def _files() -> list[Path]:
    """The project's files: what lies in ignored folders is not its own."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for line in listed.splitlines() if (path := ROOT / line).exists()]


_FILES = _files()
_FOLDERS = {folder for path in _FILES for folder in path.parents}
PAGES = [path for path in _FILES if path.suffix == ".md"]


def _broken_links(page: Path) -> list[str]:
    broken = []
    for link in _LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue  # another site's
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not leads_somewhere(target, anchor):
            broken.append(link)
    return broken


def _missing_paths(page: Path) -> list[str]:
    """Paths in backticks that begin with a folder of the project and lead to nothing.

    They may be relative to the project or to the page; a module may be named without ``.py``.
    """
    missing = []
    for path in filter(_PATH.fullmatch, _BACKTICKED.findall(prose(page))):
        bases = [base for base in (ROOT, page.parent) if base / path.split("/")[0] in _FOLDERS]
        candidates = [base / each for base in bases for each in (path, f"{path}.py")]
        if candidates and not any(candidate.exists() for candidate in candidates):
            missing.append(path)
    return missing


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page: Path) -> None:
    assert _broken_links(page) == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_paths_that_are_named_exist(page: Path) -> None:
    assert _missing_paths(page) == []


def test_what_is_broken_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A heading: `code`\n[a](#a-heading-code) [b](#none) [c](gone.md) [d](https://x.org/y)\n"
        "`schemas/manifest.py` `schemas/manifest` `schemas/gone.py` `a/b` `*/x.py`\n"
        "```\n[e](gone.md)\n```\n"
    )
    assert _broken_links(page) == ["#none", "gone.md"]
    assert _missing_paths(page) == ["schemas/gone.py"]
