"""Keys and limits; the clock is the test's."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from schemas.settings import ApiKey, HttpSettings, SettingsError
from serve_app.http.errors import ApiError
from serve_app.http.gate import ANYBODY, Client, Gate
from tests.clock import Clock


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def gate(environment: dict[str, str] | None = None, **keys: ApiKey) -> Gate:
    return Gate(HttpSettings(keys=keys), environment or {})


def limited(clock: Clock, **limits: Any) -> Client:
    return Client("a", ApiKey(sha256=digest("a"), **limits), clock)


def refused(client: Client, seconds: float = 0.0) -> ApiError:
    with pytest.raises(ApiError) as caught:
        client.take(seconds)
    return caught.value


def unknown(found: Gate, authorization: str | None) -> ApiError:
    with pytest.raises(ApiError) as caught:
        found.client(authorization)
    return caught.value


def test_a_key_names_its_client() -> None:
    found = gate(one=ApiKey(sha256=digest("k1")), two=ApiKey(sha256=digest("k2")))
    assert found.client("Bearer k1").name == "one"
    assert found.client("bearer  k2 ").name == "two"
    assert found.client("Bearer k1") is found.client("Bearer k1")


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (None, "missing_api_key"),
        ("", "missing_api_key"),
        ("Bearer", "missing_api_key"),
        ("Bearer  ", "missing_api_key"),
        ("Basic k1", "missing_api_key"),
        ("k1", "missing_api_key"),
        ("Bearer k", "invalid_api_key"),
        ("Bearer k1 k1", "invalid_api_key"),
        ("Bearer K1", "invalid_api_key"),
        ("Bearer \xe9", "invalid_api_key"),
        (f"Bearer {digest('k1')}", "invalid_api_key"),
    ],
)
def test_no_other_key_opens(authorization: str | None, code: str) -> None:
    error = unknown(gate(one=ApiKey(sha256=digest("k1"))), authorization)
    assert (error.status, error.code, error.body.error.type) == (401, code, "authentication_error")
    assert error.headers == {"www-authenticate": "Bearer"}
    assert "k1" not in error.message


def test_without_keys_everybody_is_the_same_client() -> None:
    found = gate()
    assert found.client(None).name == ANYBODY
    assert found.client("Bearer whatever") is found.client(None)


def test_a_key_may_come_from_the_environment() -> None:
    found = gate({"THE_KEY": " secret\n"}, one=ApiKey(env="THE_KEY"))
    assert found.client("Bearer secret").name == "one"


@pytest.mark.parametrize("environment", [{}, {"THE_KEY": ""}, {"THE_KEY": " "}])
def test_a_key_that_is_not_there_is_no_open_door(environment: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"http\.keys\.one\.env: .*THE_KEY"):
        gate(environment, one=ApiKey(env="THE_KEY"))


@pytest.mark.parametrize(
    "second", [ApiKey(sha256=digest("secret")), ApiKey(env="THE_KEY"), ApiKey(env="OTHER_KEY")]
)
def test_a_key_belongs_to_one_client(second: ApiKey) -> None:
    environment = {"THE_KEY": "secret", "OTHER_KEY": "secret\n"}
    with pytest.raises(SettingsError, match=r"http\.keys\.two: has the same key as `one`"):
        gate(environment, one=ApiKey(env="THE_KEY"), two=second)


def test_requests_at_once() -> None:
    client = limited(Clock(), max_concurrent=2)
    with client.request(), client.request():
        with pytest.raises(ApiError) as caught, client.request():
            pass
        assert (caught.value.status, caught.value.code) == (429, "too_many_requests")
        assert caught.value.headers == {"retry-after": "1"}
    with client.request(), client.request():
        pass


def test_a_request_that_fails_gives_back_its_place() -> None:
    client = limited(Clock(), max_concurrent=1)
    with pytest.raises(ZeroDivisionError), client.request():
        raise ZeroDivisionError
    with client.request():
        pass


def test_a_minute_of_audio_at_once_then_as_it_fills_up() -> None:
    clock = Clock()
    client = limited(clock, audio_seconds_per_minute=120.0)
    client.take(60.0)
    client.take(60.0)
    assert (refused(client).status, refused(client).code) == (429, "audio_rate_limit")
    clock.now += 10.0  # 20 seconds of audio
    client.take(20.0)
    refused(client)


def test_one_request_may_overdraw_and_the_next_waits_as_long_as_it_is_told() -> None:
    clock = Clock()
    client = limited(clock, audio_seconds_per_minute=60.0)
    client.take(90.0)
    wait = int(refused(client).headers["retry-after"])
    assert wait == 31
    clock.now += 29.9
    refused(client)
    clock.now += wait - 29.9
    client.take(0.0)


@pytest.mark.parametrize("overdrawn", [0.0, 0.3, 0.5, 1.7])
def test_who_waits_as_told_may_go_on(overdrawn: float) -> None:
    clock = Clock()
    client = limited(clock, audio_seconds_per_minute=60.0)
    client.take(60.0 + overdrawn)
    clock.now += int(refused(client).headers["retry-after"])
    client.take(0.0)


def test_what_is_refused_costs_nothing() -> None:
    clock = Clock()
    client = limited(clock, audio_seconds_per_minute=60.0)
    client.take(61.0)
    for _ in range(10):
        refused(client, 1000.0)
    clock.now += 2.0
    client.take(1.0)


def test_a_long_rest_saves_up_no_more_than_a_minute() -> None:
    clock = Clock()
    client = limited(clock, audio_seconds_per_minute=60.0)
    clock.now += 3600.0
    client.take(59.0)
    client.take(2.0)
    refused(client)


def test_without_a_limit_audio_is_free() -> None:
    client = limited(Clock())
    for _ in range(3):
        client.take(1e9)


def test_clients_do_not_share_their_limits() -> None:
    found = gate(
        one=ApiKey(sha256=digest("k1"), max_concurrent=1),
        two=ApiKey(sha256=digest("k2"), max_concurrent=1),
    )
    with found.client("Bearer k1").request(), found.client("Bearer k2").request():
        pass
