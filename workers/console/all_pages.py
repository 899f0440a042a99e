"""The pages, in the order of the navigation."""

from __future__ import annotations

from workers.console.live import page as live
from workers.console.pages import Page

PAGES: tuple[Page, ...] = (live.PAGE,)
