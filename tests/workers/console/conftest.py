"""A console over topics in memory, with the settings and the speech of the demo."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn
from litestar.testing import TestClient

from deploy.local import ROOT
from schemas.settings import Settings, load_settings
from tests.serve_app.http.conftest import FakeRouter, port_of
from tests.workers.console.topics import MemoryTopics
from workers.console.all_pages import PAGES
from workers.console.app import make_console

HOST = "http://console.test"


@pytest.fixture(scope="module")
def settings() -> Settings:
    return demo_settings()


def demo_settings() -> Settings:
    """The demo's, with votes; the console has the name of the test client."""
    found = load_settings(ROOT / "deploy" / "demo" / "plans.yaml")
    found.console.hosts = ["console.test"]
    return found


@pytest.fixture(scope="module")
def topics() -> MemoryTopics:
    return MemoryTopics()


@pytest.fixture(scope="module")
def router() -> FakeRouter:
    return FakeRouter()


def browser(
    settings: Settings, topics: MemoryTopics, connect: Callable[[], FakeRouter]
) -> TestClient[Any]:
    """A browser that asks for pages, and runs no scripts."""
    app = make_console(settings, topics, connect, PAGES)
    return TestClient(app, base_url=HOST)


@pytest.fixture(scope="module")
def client(
    settings: Settings, topics: MemoryTopics, router: FakeRouter
) -> Iterator[TestClient[Any]]:
    with browser(settings, topics, lambda: router) as found:
        yield found


def on_network(settings: Settings, topics: MemoryTopics, router: FakeRouter) -> Iterator[str]:
    """The address of the console behind a real server, in a thread of its own."""
    app = make_console(settings, topics, lambda: router, PAGES)
    config = uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port_of(server, thread)}"
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()
