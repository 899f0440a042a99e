"""A stop takes bounded time, whatever the cluster does."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from serve_app.cluster import application
from serve_app.cluster.application import Running

pytestmark = pytest.mark.slow  # imports Ray


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ray never answers."""
    ended = threading.Event()
    monkeypatch.setattr(application, "_end_in_order", lambda running: ended.wait())
    yield
    ended.set()


@pytest.mark.usefixtures("hanging")
def test_it_gives_up_when_it_is_told_to() -> None:
    running = Running("127.0.0.1:1", "chorus", own_cluster=False)
    assert not application.stop(running, give_up=lambda: True)


@pytest.mark.usefixtures("hanging")
def test_it_gives_up_after_a_while() -> None:
    running = Running("127.0.0.1:1", "chorus", own_cluster=False, patience_s=0.1)
    assert not application.stop(running)


@pytest.mark.usefixtures("hanging")
def test_it_gives_up_when_a_process_of_ray_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    from serve_app.cluster import ray_cluster

    killed: list[str] = []
    monkeypatch.setattr(ray_cluster, "dead_processes", lambda: ["raylet"])
    monkeypatch.setattr(ray_cluster, "kill_cluster", lambda: killed.append("all"))
    running = Running("127.0.0.1:1", "chorus", own_cluster=True)
    assert not application.stop(running)
    assert killed == ["all"]


def test_it_ends_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "_end_in_order", lambda running: None)
    assert application.stop(Running("127.0.0.1:1", "chorus", own_cluster=False))
