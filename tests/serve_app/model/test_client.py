from __future__ import annotations

import pickle
from typing import Any

import pytest
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    OutOfDiskError,
    OutOfMemoryError,
)
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from schemas.failures import ErrorCode
from serve_app.audio.clip import SAMPLE_RATE
from serve_app.model.batcher import BrokenOverCallError, EngineBrokenError, QueueFullError
from serve_app.model.client import ModelClient
from serve_app.model.protocol import ModelError
from serve_app.router.transcriber import PROBE_CLIP


class FakeHandle:
    """A Serve handle whose calls raise `error`, or wait for ever for a replica."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.cancelled = False

    def options(self, **_: Any) -> FakeHandle:
        return self

    def remote(self, *_: Any) -> FakeHandle:
        if isinstance(self.error, OutOfDiskError):  # where Ray stores the arguments
            raise self.error
        return self

    async def _to_object_ref(self) -> Any:
        import asyncio

        if self.error is not None:
            raise self.error
        await asyncio.Event().wait()

    def cancel(self) -> None:
        self.cancelled = True


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ActorDiedError(), ErrorCode.MODEL_DIED),
        (OutOfMemoryError("fifteen lines"), ErrorCode.MODEL_DIED),
        (ActorUnavailableError("gone", None), ErrorCode.MODEL_UNAVAILABLE),
        (QueueFullError("full"), ErrorCode.OVERLOADED),
        (OutOfDiskError("id", "owner", "site"), ErrorCode.MODEL_UNAVAILABLE),
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


async def test_a_full_disk_is_named() -> None:
    client = ModelClient("m", FakeHandle(OutOfDiskError("id", "owner", "site")), timeout_s=10)
    with pytest.raises(ModelError, match="the disk of its folder are full"):
        await client.transcribe([PROBE_CLIP], SAMPLE_RATE)


async def test_a_replica_that_died_may_have_been_short_of_memory() -> None:
    client = ModelClient("m", FakeHandle(ActorDiedError()), timeout_s=10)
    with pytest.raises(ModelError, match=r"^model m: its replica died \(it crashed, or memory ran"):
        await client.transcribe([PROBE_CLIP], SAMPLE_RATE)


async def test_who_took_too_much_memory_is_told_in_a_sentence() -> None:
    client = ModelClient("m", FakeHandle(OutOfMemoryError("fifteen\nlines")), timeout_s=10)
    with pytest.raises(ModelError) as raised:
        await client.transcribe([PROBE_CLIP], SAMPLE_RATE)
    assert str(raised.value) == (
        "model m: its replica was killed because the memory of its machine ran out while it worked "
        "on this call"
    )


def test_an_error_keeps_its_code_and_message_in_another_process() -> None:
    error = pickle.loads(pickle.dumps(ModelError(ErrorCode.OVERLOADED, "model m: is overloaded")))
    assert (error.code, str(error)) == (ErrorCode.OVERLOADED, "model m: is overloaded")


async def test_waiting_for_a_replica_is_bounded() -> None:
    handle = FakeHandle()
    with pytest.raises(ModelError, match="no replica") as raised:
        await ModelClient("m", handle, timeout_s=0.01).transcribe([PROBE_CLIP], SAMPLE_RATE)
    assert raised.value.code is ErrorCode.MODEL_UNAVAILABLE
    assert handle.cancelled
