"""Who may see and do what."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from types import SimpleNamespace
from typing import Any

import pytest
from litestar.testing import TestClient

from schemas.settings import ConsoleKey, ConsoleSettings, Role, Settings, SettingsError
from tests.clock import Clock
from tests.serve_app.http.conftest import FakeRouter
from tests.workers.console.conftest import browser, demo_settings
from tests.workers.console.samples import SAID, transcript
from tests.workers.console.topics import MemoryTopics
from workers.cli.console import open_console
from workers.console.access import Access, User
from workers.console.all_pages import PAGES
from workers.console.app import make_console
from workers.console.audit import audit


def keyed(settings: Settings, **roles: Role) -> Settings:
    """The settings with a key for each role, which is the name of its owner."""
    settings.console.keys = {
        name: ConsoleKey(sha256=hashlib.sha256(name.encode()).hexdigest(), role=role)
        for name, role in roles.items()
    }
    return settings


@pytest.fixture
def keys() -> Settings:
    return keyed(demo_settings(), fay="figures", sam="speech", ada="act")


def token(client: TestClient[Any], path: str = "/sign-in") -> str:
    found = re.search(r'name="_csrf_token" value="([0-9a-f]+)"', client.get(path).text)
    assert found is not None
    return found[1]


def sign_in(client: TestClient[Any], key: str) -> Any:
    form = {"key": key, "_csrf_token": token(client)}
    return client.post("/sign-in", data=form, follow_redirects=False)


def test_a_role_opens_its_pages_and_no_others(
    keys: Settings, topics: MemoryTopics, router: FakeRouter
) -> None:
    place = topics.say(transcript())
    paths = ("/live", f"/utterances/{place}", f"/utterances/{place}/audio", "/try")
    opened: dict[str, list[int]] = {}
    for name in ("fay", "sam", "ada"):
        with browser(keys, topics, lambda: router) as client:
            assert sign_in(client, name).status_code == 303
            opened[name] = [client.get(path).status_code for path in paths]
            page = client.get("/live").text
            assert ('href="/try"' in page) is (name == "ada")
            assert ('id="rows"' in page) is (name != "fay")
    assert opened == {
        "fay": [200, 403, 403, 403],
        "sam": [200, 200, 200, 403],
        "ada": [200, 200, 200, 200],
    }


def test_nobody_sees_anything_without_a_key(
    keys: Settings, topics: MemoryTopics, router: FakeRouter
) -> None:
    place = topics.say(transcript())
    with browser(keys, topics, lambda: router) as client:
        for path in ("/live", "/live/events", f"/utterances/{place}", "/try", "/try/x/audio"):
            found = client.get(path, follow_redirects=False)
            assert (found.status_code, found.headers["location"]) == (302, "/sign-in")
            assert SAID not in found.text
        part = client.get("/live", headers={"hx-request": "true"})
        assert (part.status_code, part.headers["hx-redirect"]) == (401, "/sign-in")


@pytest.mark.parametrize("path", ["/try", "/dead-letters/settle", "/sign-out"])
def test_what_somebody_without_a_session_sends_is_not_read(keys: Settings, path: str) -> None:
    app = make_console(keys, MemoryTopics(), FakeRouter, PAGES)
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("it was read")

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Any = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"content-type", b"multipart/form-data; boundary=x")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "scheme": "http",
        "http_version": "1.1",
    }
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 401
    assert b"Sign in first" in sent[1]["body"]


def test_a_wrong_key_is_refused_and_too_many_are_waited_out(
    keys: Settings, topics: MemoryTopics, router: FakeRouter
) -> None:
    keys.console.wrong_keys_per_minute = 2
    with browser(keys, topics, lambda: router) as client:
        assert [sign_in(client, "x").status_code for _ in range(3)] == [401, 401, 429]
        assert sign_in(client, "ada").status_code == 429
        assert client.get("/live", follow_redirects=False).status_code == 302


def test_signing_out_ends_the_session(
    keys: Settings, topics: MemoryTopics, router: FakeRouter
) -> None:
    with browser(keys, topics, lambda: router) as client:
        cookie = sign_in(client, "ada").headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        session = client.cookies["chorus_console"]
        client.post("/sign-out", data={"_csrf_token": token(client, "/live")})
        client.cookies["chorus_console"] = session
        assert client.get("/live", follow_redirects=False).status_code == 302


def test_a_session_ends_some_hours_after_its_last_request() -> None:
    clock = Clock()
    key = ConsoleKey(sha256=hashlib.sha256(b"k").hexdigest())
    access = Access(ConsoleSettings(keys={"sam": key}, session_hours=1), clock)

    asking: Any = SimpleNamespace(cookies={"chorus_console": access.sign_in("k", "")})
    clock.now += 3599
    assert access.user(asking) == User("sam", "speech")
    clock.now += 3599
    assert access.user(asking) is not None
    assert access.knows(asking)
    clock.now += 3601
    assert not access.knows(asking)
    assert access.user(asking) is None


def test_an_act_needs_the_token_of_the_page(client: TestClient[Any]) -> None:
    refused = client.post("/try", files={"file": ("a.wav", b"x")})
    assert refused.status_code == 403
    assert client.post("/sign-out").status_code == 403


def test_without_keys_it_answers_to_its_own_names_alone(client: TestClient[Any]) -> None:
    for host in ("127.0.0.1:8010", "localhost", "[::1]:8010", "console.test"):
        assert client.get("/live", headers={"host": host}).status_code == 200
    for host in ("evil.example", "localhost.evil.example", "127.0.0.1.nip.io:8010"):
        assert client.get("/live", headers={"host": host}).status_code == 403


@pytest.mark.parametrize(
    ("console", "refused"),
    [
        (ConsoleSettings(), False),
        (ConsoleSettings(host="::1"), False),
        (ConsoleSettings(host="0.0.0.0"), True),
        (ConsoleSettings(host="0.0.0.0", keys={"a": ConsoleKey(env="KEY")}), False),
    ],
)
def test_it_does_not_stand_open_to_other_machines(console: ConsoleSettings, refused: bool) -> None:
    assert (open_console(console) is not None) is refused


def test_a_key_that_is_not_there_is_named() -> None:
    with pytest.raises(SettingsError, match=r"console\.keys\.sam\.env: .*NO_SUCH_KEY"):
        Access(ConsoleSettings(keys={"sam": ConsoleKey(env="NO_SUCH_KEY")}))


def test_an_act_leaves_a_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        audit(User("ada", "act"), "promote", "medical:3", why='fewer\n"errors"')
    assert caplog.messages == [
        'audit {"user": "ada", "act": "promote", "target": "medical:3", '
        '"why": "fewer\\n\\"errors\\"", "outcome": "done"}'
    ]
