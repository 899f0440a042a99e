"""How the Router talks to a model: one call with a time limit, every failure typed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import ray.exceptions
import ray.serve.exceptions

from schemas.failures import ErrorCode
from serve_app.batcher import BrokenOverCallError, QueueFullError
from serve_app.domain_model import ModelInfo, Reply
from serve_app.engines.base import Clip, Phrases
from serve_app.transcriber import ModelError

logger = logging.getLogger(__name__)


class ModelClient:
    """A model behind a Serve handle.

    Args:
        name: of the model in the settings.
        handle: of its deployment.
        timeout_s: longest wait for an answer, waiting for a replica included.
    """

    def __init__(self, name: str, handle: Any, timeout_s: float) -> None:
        self.name = name
        self._timeout_s = timeout_s
        # By reference: clips go through the shared object store, not through gRPC with its cap on
        # message size, and the death of a replica is told apart from its being out of reach.
        self._transcribe = handle.options(method_name="transcribe", _by_reference=True)
        self._info = handle.options(method_name="info", _by_reference=True)

    async def transcribe(
        self,
        clips: Sequence[Clip],
        sample_rate: int,
        *,
        words: bool = False,
        phrases: Sequence[Phrases] = (),
        interactive: bool = False,
    ) -> Reply:
        """See `serve_app.domain_model.DomainModel.transcribe`.

        Raises:
            ModelError: there is no answer: `MODEL_DIED` where the replica died over this call,
                `MODEL_UNAVAILABLE`, `MODEL_TIMEOUT` or `OVERLOADED`.
        """
        return await self._call(
            self._transcribe, self._timeout_s, clips, sample_rate, words, phrases, interactive
        )

    async def info(self) -> ModelInfo:
        """What the model serves. Raises as `transcribe` does."""
        return await self._call(self._info, self._timeout_s)

    async def _call(self, method: Any, timeout_s: float, *args: Any) -> Any:
        response = method.remote(*args)
        assigned = False
        try:
            async with asyncio.timeout(timeout_s):
                # With no replica Serve would wait for ever for one to assign the call to.
                reference = await response._to_object_ref()
                assigned = True
                return await reference
        except TimeoutError:
            response.cancel()
            if assigned:
                raise self._error(
                    ErrorCode.MODEL_TIMEOUT, f"no answer in {timeout_s:g} s"
                ) from None
            raise self._error(
                ErrorCode.MODEL_UNAVAILABLE, f"no replica came up in {timeout_s:g} s"
            ) from None
        except asyncio.CancelledError:
            response.cancel()
            raise
        except Exception as error:
            code, reason = _classify(error)
            logger.warning("model %s: %s (%s)", self.name, code.value, type(error).__name__)
            raise self._error(code, reason) from error

    def _error(self, code: ErrorCode, reason: str) -> ModelError:
        return ModelError(code, f"model {self.name}: {reason}")


def _classify(error: Exception) -> tuple[ErrorCode, str]:
    """The code and the words for what a call raised."""
    if isinstance(error, ray.exceptions.ActorDiedError | BrokenOverCallError):
        return ErrorCode.MODEL_DIED, "its replica died or broke while it worked on this"
    if isinstance(error, QueueFullError | ray.serve.exceptions.BackPressureError):
        return ErrorCode.OVERLOADED, "too many calls wait for it"
    return ErrorCode.MODEL_UNAVAILABLE, f"cannot be reached or is broken ({type(error).__name__})"
