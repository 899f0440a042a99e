"""Chromium over the console's pages, and what it has to complain about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)
#: Width and height by name.
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
#: What a page of an error is made of: the browser says that it has such a status.
_STATUS = "Failed to load resource"


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with a profile of its own."""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=list(_ARGUMENTS))
        try:
            yield found
        finally:
            found.close()


class Tab:
    """A tab that notes what goes wrong in it.

    Attributes:
        page: the tab.
        complaints: errors of scripts, refusals by the policy, requests to other hosts.
    """

    def __init__(self, browser: Browser, url: str, size: str, scheme: Any) -> None:
        width, height = SIZES[size]
        self._context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, base_url=url
        )
        self._url = url
        self.page: Page = self._context.new_page()
        self.page.set_default_timeout(10_000)
        self.complaints: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", self._dialog)
        self.page.on("request", self._request)

    def close(self) -> None:
        """Close the tab."""
        self._context.close()

    def violations(self) -> list[str]:
        """What axe finds to be serious or critical; what the page complained of is kept apart."""
        before = list(self.complaints)
        found = Axe().run(self.page).response["violations"]
        self.complaints = before  # of what axe itself puts into the page
        return [
            f"{each['id']}: {node['html'][:200]}"
            for each in found
            if each["impact"] in ("serious", "critical")
            for node in each["nodes"]
        ]

    def overflows(self) -> bool:
        """Whether the page is wider than the window."""
        return bool(
            self.page.evaluate(
                "document.documentElement.scrollWidth > document.documentElement.clientWidth"
            )
        )

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(_STATUS):
            self.complaints.append(message.text)

    def _dialog(self, dialog: Any) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, request: Any) -> None:
        if not request.url.startswith((self._url, "blob:" + self._url, "data:")):
            self.complaints.append(f"request: {request.url}")
