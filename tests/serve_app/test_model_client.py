from __future__ import annotations

from typing import Any

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from schemas.failures import ErrorCode
from serve_app.batcher import BrokenOverCallError, EngineBrokenError, QueueFullError
from serve_app.model_client import ModelClient
from serve_app.reading import SAMPLE_RATE
from serve_app.transcriber import PROBE_CLIP, ModelError


class FakeHandle:
    """A Serve handle whose calls raise `error`, or wait for ever for a replica."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.cancelled = False

    def options(self, **_: Any) -> FakeHandle:
        return self

    def remote(self, *_: Any) -> FakeHandle:
        return self

    async def _to_object_ref(self) -> Any:
        import asyncio

        if self.error is None:
            await asyncio.Event().wait()
        raise self.error  # type: ignore[misc]

    def cancel(self) -> None:
        self.cancelled = True


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ActorDiedError(), ErrorCode.MODEL_DIED),
        (ActorUnavailableError("gone", None), ErrorCode.MODEL_UNAVAILABLE),
        (QueueFullError("full"), ErrorCode.OVERLOADED),
        (BackPressureError(num_queued_requests=1, max_queued_requests=1), ErrorCode.OVERLOADED),
        (EngineBrokenError("broken"), ErrorCode.MODEL_UNAVAILABLE),
        (BrokenOverCallError("broken"), ErrorCode.MODEL_DIED),
        (RuntimeError("anything"), ErrorCode.MODEL_UNAVAILABLE),
        (
            DeploymentUnavailableError.__new__(DeploymentUnavailableError),
            ErrorCode.MODEL_UNAVAILABLE,
        ),
    ],
)
async def test_failures_have_codes(error: Exception, code: ErrorCode) -> None:
    client = ModelClient("m", FakeHandle(error), timeout_s=10)
    with pytest.raises(ModelError, match="model m: ") as raised:
        await client.transcribe([PROBE_CLIP], SAMPLE_RATE)
    assert raised.value.code is code


async def test_waiting_for_a_replica_is_bounded() -> None:
    handle = FakeHandle()
    with pytest.raises(ModelError, match="no replica") as raised:
        await ModelClient("m", handle, timeout_s=0.01).transcribe([PROBE_CLIP], SAMPLE_RATE)
    assert raised.value.code is ErrorCode.MODEL_UNAVAILABLE
    assert handle.cancelled
