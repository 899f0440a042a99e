"""The brake on guessing keys; the clock is the test's."""

from __future__ import annotations

import pytest

from serve_app.http.brake import MAX_ADDRESSES, GuessBrake
from serve_app.http.errors import ApiError
from tests.clock import Clock


def is_refused(brake: GuessBrake, address: str) -> bool:
    try:
        brake.check(address)
    except ApiError as error:
        assert (error.status, error.code) == (429, "too_many_wrong_keys")  # noqa: PT017
        return True
    return False


def test_so_many_a_minute_and_no_more() -> None:
    clock = Clock()
    brake = GuessBrake(60, clock)
    guesses = 0
    for _ in range(3 * 60 * 100):  # three minutes of a hundred attempts a second
        if not is_refused(brake, "192.0.2.1"):
            brake.failed("192.0.2.1")
            guesses += 1
        clock.now += 0.01
    assert 3 * 60 <= guesses <= 4 * 60


def test_the_wait_that_is_named_is_long_enough_and_no_longer() -> None:
    clock = Clock()
    brake = GuessBrake(2, clock)
    brake.failed("192.0.2.1")
    brake.failed("192.0.2.1")
    with pytest.raises(ApiError) as caught:
        brake.check("192.0.2.1")
    wait = caught.value.retry_after_s
    clock.now += wait - 0.5
    assert is_refused(brake, "192.0.2.1")
    clock.now += 0.5
    assert not is_refused(brake, "192.0.2.1")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("", "", True),
    ],
)
def test_what_counts_as_one_address(one: str, other: str, same: bool) -> None:
    brake = GuessBrake(1, Clock())
    brake.failed(one)
    assert is_refused(brake, one)
    assert is_refused(brake, other) is same


def test_many_addresses_take_no_more_memory() -> None:
    brake = GuessBrake(1, Clock())
    for number in range(MAX_ADDRESSES + 1):
        brake.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert not is_refused(brake, "10.0.0.0"), "the oldest is forgotten"
    assert is_refused(brake, "10.0.0.1")
