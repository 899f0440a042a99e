from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from serve_app.model import callers
from serve_app.model.callers import Callers


class Processes:
    """Knows which processes have ended, or does not answer.

    Attributes:
        ended: those that have.
        fails: how many more questions it does not answer.
        asked: the questions.
    """

    def __init__(self) -> None:
        self.ended: set[str] = set()
        self.fails = 0
        self.asked: list[set[str]] = []

    def __call__(self, names: Collection[str]) -> set[str]:
        self.asked.append(set(names))
        if self.fails:
            self.fails -= 1
            raise ConnectionError("no Ray")
        return self.ended & set(names)


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Processes:
    monkeypatch.setattr(callers, "_LOOK_S", 0.001)
    return Processes()


async def test_the_calls_of_who_has_ended_are_cancelled(processes: Processes) -> None:
    table, release = Callers(processes), asyncio.Event()

    async def call(caller: str | None) -> str | None:
        with table.call_of(caller):
            await release.wait()
        return caller

    names = ["a", "b", "a", None]
    calls = [asyncio.create_task(call(name)) for name in names]
    processes.fails = 2  # it is asked again
    processes.ended = {"a", "of another"}
    await asyncio.wait([calls[0], calls[2]])
    assert [calls[0].cancelled(), calls[2].cancelled()] == [True, True]
    release.set()
    assert [await calls[1], await calls[3]] == ["b", None]
    assert processes.asked[0] == {"a", "b"}


async def test_without_calls_nobody_is_asked(processes: Processes) -> None:
    table = Callers(processes)
    for _ in range(2):
        with table.call_of("a"):
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.01)
        asked = len(processes.asked)
        await asyncio.sleep(0.02)
        assert len(processes.asked) == asked
    assert asked > 0
