"""The Router's client of a model: calls with a time limit, and typed failures."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, cast

from schemas.failures import ErrorCode
from schemas.requests import ClipRequest
from serve_app.audio.clip import Clip
from serve_app.model.batcher import BrokenOverCallError, QueueFullError
from serve_app.model.missing import MissingModels
from serve_app.model.protocol import ModelError, ModelInfo, Reply
from serve_app.system.ray_adapter import (
    death_of,
    method_by_reference,
    object_ref,
    own_name,
    ray,
    replicas_known,
    shortage_of,
)

logger = logging.getLogger(__name__)


class ModelClient:
    """A model behind a Serve handle.

    Args:
        name: of the model in the settings.
        handle: of its deployment.
        timeout_s: longest wait for an answer, waiting for a replica included.
        missing: knows whether the model has failed to load; None if it is required.
    """

    def __init__(
        self, name: str, handle: Any, timeout_s: float, missing: MissingModels | None = None
    ) -> None:
        self.name = name
        self._missing = missing
        self._timeout_s = timeout_s
        self._transcribe = method_by_reference(handle, "transcribe")
        self._info = method_by_reference(handle, "info")

    @property
    def replicas(self) -> int:
        """How many replicas it has, as far as is known; at least 1."""
        return max(1, replicas_known(self._transcribe))

    async def transcribe(
        self,
        clips: Sequence[Clip],
        sample_rate: int,
        requests: Sequence[ClipRequest] = (),
    ) -> Reply:
        """One outcome per clip, in order.

        Args:
            clips: mono float32 audio.
            sample_rate: of the clips, in hertz.
            requests: one per clip; empty for the defaults.

        Raises:
            ModelError: there is no answer: `MODEL_DIED` if the replica died during this call,
                `MODEL_UNAVAILABLE`, `MODEL_TIMEOUT`, `OVERLOADED` or `MODEL_MISSING`.
        """
        call = self._call(self._transcribe, clips, sample_rate, requests, own_name())
        return cast(Reply, await call)

    async def info(self) -> ModelInfo:
        """Describe what the model serves.

        Raises:
            ModelError: there is no answer, as in `transcribe`.
        """
        return cast(ModelInfo, await self._call(self._info))

    async def _call(self, method: Any, *args: Any) -> Any:
        if self._missing is not None and (reason := await self._missing.reason(self.name)):
            raise self._error(ErrorCode.MODEL_MISSING, f"did not load: {reason}")
        timeout_s = self._timeout_s
        assigned = False
        try:
            response = method.remote(*args)
            async with asyncio.timeout(timeout_s):
                # Without a replica, Serve would wait indefinitely for one to assign the call to.
                reference = await object_ref(response)
                assigned = True
                return await reference
        except TimeoutError:
            response.cancel()
            if assigned:
                raise self._error(
                    ErrorCode.MODEL_TIMEOUT, f"did not answer within {timeout_s:g} s"
                ) from None
            raise self._error(
                ErrorCode.MODEL_UNAVAILABLE, f"no replica was available within {timeout_s:g} s"
            ) from None
        except asyncio.CancelledError:
            response.cancel()
            raise
        except Exception as error:
            code, reason = _classify(error)
            cause = shortage_of(error) or type(error).__name__
            logger.warning("model %s: %s (%s)", self.name, code.value, cause)
            raise self._error(code, reason) from error

    def _error(self, code: ErrorCode, reason: str) -> ModelError:
        return ModelError(code, f"model {self.name}: {reason}")


def _classify(error: Exception) -> tuple[ErrorCode, str]:
    """The error code and message for what a call raised."""
    death = "broke" if isinstance(error, BrokenOverCallError) else death_of(error)
    if death is not None:
        return ErrorCode.MODEL_DIED, f"its replica {death} while it worked on this call"
    if isinstance(error, QueueFullError | ray.serve.exceptions.BackPressureError):
        return ErrorCode.OVERLOADED, "is overloaded: too many calls or clips are waiting"
    if (shortage := shortage_of(error)) is not None:
        return ErrorCode.MODEL_UNAVAILABLE, f"cannot be given audio: {shortage}"
    return ErrorCode.MODEL_UNAVAILABLE, f"is not reachable, or failed ({type(error).__name__})"
