"""Kafka clients that fail when a test says so, around those of any cluster."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sized
from typing import Any

from workers.kafka.protocols import Clients


class Faults:
    """Which calls fail next, by the method's name."""

    def __init__(self) -> None:
        self._before: dict[str, deque[Exception]] = {}
        self._after: dict[str, deque[Exception]] = {}
        self._hooks: dict[str, deque[Callable[[], None]]] = {}

    def fail(self, method: str, error: Exception, times: int = 1) -> None:
        """Let the next calls fail without an effect."""
        self._before.setdefault(method, deque()).extend([error] * times)

    def fail_afterwards(self, method: str, error: Exception) -> None:
        """Let the next call do its work and then fail: the answer of the broker is lost."""
        self._after.setdefault(method, deque()).append(error)

    def first(self, method: str, hook: Callable[[], None]) -> None:
        """Let `hook` run before the next call."""
        self._hooks.setdefault(method, deque()).append(hook)

    @property
    def left(self) -> int:
        """Faults that have not happened yet."""
        plans: list[Sized] = [
            *self._before.values(),
            *self._after.values(),
            *self._hooks.values(),
        ]
        return sum(len(plan) for plan in plans)

    def call(self, name: str, method: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if self._hooks.get(name):
            self._hooks[name].popleft()()
        if self._before.get(name):
            raise self._before[name].popleft()
        result = method(*args, **options)
        if self._after.get(name):
            raise self._after[name].popleft()
        return result


class _Faulty:
    """A client whose methods `faults` may let fail."""

    def __init__(self, client: Any, faults: Faults) -> None:
        self._client = client
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._client, name)
        if not callable(attribute):
            return attribute
        return lambda *args, **options: self._faults.call(name, attribute, *args, **options)


class FaultyClients(_Faulty):
    """`clients`, whose consumers and producers, and whose own methods, `faults` may let fail."""

    def __init__(self, clients: Clients, faults: Faults) -> None:
        super().__init__(clients, faults)

    def consumer(self, **options: Any) -> Any:
        return self._made("consumer", options)

    def producer(self, **options: Any) -> Any:
        return self._made("producer", options)

    def _made(self, kind: str, options: dict[str, Any]) -> Any:
        make = getattr(self._client, kind)
        return _Faulty(self._faults.call(kind, make, **options), self._faults)
