"""What the Router's client makes of Ray's errors."""

from __future__ import annotations

from typing import Any

import pytest
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    ObjectStoreFullError,
    OutOfDiskError,
    OutOfMemoryError,
)
from ray.serve.exceptions import BackPressureError

from schemas.failures import ErrorCode, RecordError
from schemas.manifest import ManifestRecord
from serve_app.router import client
from serve_app.router.client import RouterClient

pytestmark = pytest.mark.slow  # imports Ray


class FailingHandle:
    """A Serve handle whose calls raise `error`."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def options(self, **_: Any) -> FailingHandle:
        return self

    def remote(self, *_: Any) -> FailingHandle:
        return self

    def __await__(self) -> Any:
        raise self._error
        yield  # a generator


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ActorDiedError(), ErrorCode.ROUTER_DIED),
        (OutOfMemoryError("fifteen\nlines"), ErrorCode.ROUTER_DIED),
        (ActorUnavailableError("gone", None), ErrorCode.ROUTER_UNAVAILABLE),
        (OutOfDiskError("id", "owner", "site"), ErrorCode.ROUTER_UNAVAILABLE),
        (ObjectStoreFullError(), ErrorCode.ROUTER_UNAVAILABLE),
        (BackPressureError(num_queued_requests=1, max_queued_requests=1), ErrorCode.OVERLOADED),
    ],
)
async def test_failures_have_codes(
    monkeypatch: pytest.MonkeyPatch, error: Exception, code: ErrorCode
) -> None:
    monkeypatch.setattr(client, "_handle", lambda app: FailingHandle(error))
    records = [ManifestRecord(id=name, audio_filepath="x.wav") for name in "ab"]
    results = await RouterClient("app").transcribe(records)
    assert [result.id for result in results] == ["a", "b"]
    for result in results:
        assert isinstance(result, RecordError)
        assert result.code is code
        assert "fifteen" not in result.message
