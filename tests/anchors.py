"""The headings of the pages, as links name them."""

from __future__ import annotations

import re
from pathlib import Path

_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return _FENCED.sub("", page.read_text())


def leads_somewhere(page: Path, anchor: str = "") -> bool:
    """Whether a page is there, and has the heading that an anchor names."""
    return page.exists() and (not anchor or anchor in _anchors(page))


def _anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    texts = [
        re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        for heading in _HEADING.findall(prose(page))
    ]
    return {re.sub(r"[^\w\- ]", "", text).strip().replace(" ", "-") for text in texts}
