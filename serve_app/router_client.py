"""What a worker knows of the serving side: an async function from records to results."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import msgspec
import ray.exceptions
import ray.serve.exceptions
from ray import serve

from schemas.failures import ErrorCode, RecordError
from schemas.how import AS_ROUTED, How
from schemas.manifest import ManifestRecord
from serve_app.domain_model import ModelInfo
from serve_app.engines.base import Clip
from serve_app.results import Result

logger = logging.getLogger(__name__)


class Probe(msgspec.Struct, frozen=True):
    """Whether the backend is alive.

    Attributes:
        router: whether the Router answered.
        silent: names of the models that did not answer the built-in clip.
    """

    router: bool
    silent: tuple[str, ...] = ()

    @property
    def alive(self) -> bool:
        """The Router and every model answered."""
        return self.router and not self.silent


class RouterClient:
    """Calls the Router of a Serve application, from another application or another process.

    Made and used on one event loop; Ray must be connected (`serve_app.app.connect` or `start`).
    The application need not be up yet: until it is, calls return `ROUTER_UNAVAILABLE`.

    Args:
        app_name: `serve.app` of the settings.
        timeout_s: longest wait for an answer to `transcribe`.
    """

    def __init__(self, app_name: str, timeout_s: float = 300.0) -> None:
        self._app_name = app_name
        self._timeout_s = timeout_s
        self._handle: Any = None

    async def transcribe(
        self,
        records: Sequence[ManifestRecord],
        how: How = AS_ROUTED,
        clips: Sequence[Clip] | None = None,
    ) -> list[Result]:
        """One `Transcript` or `RecordError` per record, in order. Raises only when cancelled.

        Args:
            clips: the records' audio, mono float32 at `serve_app.reading.SAMPLE_RATE`, where no
                file is to be read.

        Where the Router is not there or does not answer in time, every record of the list comes
        back as `ROUTER_UNAVAILABLE` (or `OVERLOADED`): retryable. Where it dies while it works on
        the list, as `ROUTER_DIED`: one of the records may be why.
        """
        try:
            audio = None if clips is None else list(clips)
            return await self._call("transcribe", self._timeout_s, list(records), how, audio)
        except _UnavailableError as error:
            return [
                RecordError(id=record.id, code=error.code, message=str(error)) for record in records
            ]

    async def probe(self, timeout_s: float = 5.0) -> Probe:
        """Ask the Router and, through it, every model for a sign of life. Never raises.

        Takes at most about `timeout_s` seconds.
        """
        try:
            answers: dict[str, bool] = await self._call("probe", timeout_s + 1, timeout_s)
        except _UnavailableError:
            return Probe(router=False)
        return Probe(router=True, silent=tuple(name for name, ok in answers.items() if not ok))

    async def info(self, timeout_s: float = 30.0) -> dict[str, ModelInfo]:
        """What each model serves, by name.

        Raises:
            ConnectionError: the Router or a model does not answer.
        """
        return await self._call("info", timeout_s)

    async def _call(self, method: str, timeout_s: float, *args: Any) -> Any:
        response = None
        try:
            async with asyncio.timeout(timeout_s):
                if self._handle is None:
                    self._handle = await asyncio.to_thread(_handle, self._app_name)
                # By reference: gRPC, the other way, has a cap on message size.
                call = self._handle.options(method_name=method, _by_reference=True)
                response = call.remote(*args)
                return await response
        except (TimeoutError, asyncio.CancelledError) as error:
            if response is not None:
                response.cancel()
            if isinstance(error, TimeoutError):
                raise _UnavailableError(f"the Router gave no answer in {timeout_s:g} s") from None
            raise
        except ray.serve.exceptions.BackPressureError:
            raise _UnavailableError(
                "too many calls wait for the Router", ErrorCode.OVERLOADED
            ) from None
        except ray.exceptions.ActorDiedError as error:
            logger.warning("Router: its replica died over %s", method)
            raise _UnavailableError(
                "the Router's replica died while it worked on this", ErrorCode.ROUTER_DIED
            ) from error
        except Exception as error:
            name = type(error).__name__
            logger.warning("Router: %s failed (%s)", method, name)
            raise _UnavailableError(f"the Router cannot be reached or failed ({name})") from error


def _handle(app_name: str) -> Any:
    """A handle of the application's Router. Blocks."""
    handle = serve.get_app_handle(app_name)
    if not handle.is_initialized:
        # Serve caches handles by process: one bound to the caller's event loop would be of no use
        # to the next loop, and its late callbacks would meet a closed one.
        handle._init(_run_router_in_separate_loop=True)
    return handle


class _UnavailableError(ConnectionError):
    """No answer, and what that means for the records."""

    def __init__(self, message: str, code: ErrorCode = ErrorCode.ROUTER_UNAVAILABLE) -> None:
        super().__init__(message)
        self.code = code
