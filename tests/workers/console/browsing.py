"""What a person does on a page: look, fill in a form, press its button."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from typing import Any

import httpx
from litestar.testing import TestClient

from schemas.settings import ConsoleKey, Settings
from tests.serve_app.http.conftest import FakeRouter
from tests.workers.console.conftest import browser
from tests.workers.console.topics import MemoryTopics

#: What no page may hand to a browser as it is: markup, a reversed direction, a character that no
#: page can hold, and a word of a megabyte.
HOSTILE = "<script>alert(1)</script>\"'\u202e\x07" + "w" * 1_000_000


class Person:
    """Somebody at a browser without scripts."""

    def __init__(self, client: TestClient[Any]) -> None:
        self.client = client

    def see(self, path: str, status: int = 200) -> str:
        """The text of a page."""
        found = self.client.get(path)
        assert found.status_code == status, found.text[:2000]
        return harmless(found.text)

    def send(self, path: str, status: int = 303, /, **form: Any) -> httpx.Response:
        """Press the button of a form, with its token."""
        self.client.get("/sign-in")
        token = self.client.cookies["chorus_csrf"]
        data = {"_csrf_token": token, **form}
        found = self.client.post(path, data=data, follow_redirects=False)
        assert found.status_code == status, found.text[:2000]
        return found

    def told(self, path: str, status: int, /, **form: Any) -> str:
        """What a page says of a form that it refuses."""
        return unescape(harmless(self.send(path, status, **form).text))


def harmless(html: str) -> str:
    """A page, which has no script of its own and is not swollen by what others wrote."""
    assert not re.search(r"<script(?! src=)", html)
    assert "\x07" not in html
    assert len(html) < 500_000
    return html


@contextmanager
def person(settings: Settings, topics: MemoryTopics | None = None) -> Iterator[Person]:
    """Somebody at a console without keys, who may do everything."""
    with browser(settings, topics or MemoryTopics(), FakeRouter) as client:
        yield Person(client)


@contextmanager
def signed_in(settings: Settings, role: Any, monkeypatch: Any) -> Iterator[Person]:
    """Somebody whose key has a role."""
    monkeypatch.setenv("CONSOLE_KEY", "a key of at least so many characters")
    settings.console.keys = {"ann": ConsoleKey(env="CONSOLE_KEY", role=role)}
    with person(settings) as found:
        found.send("/sign-in", key="a key of at least so many characters")
        yield found
