"""A `Backend` that calls the Router through a Ray Serve handle, from any process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, cast

from schemas.failures import ErrorCode, RecordError
from schemas.manifest import ManifestRecord
from schemas.records_call import (
    RecordsAnswer,
    RecordsCall,
    decode,
    encode,
    encoded_call,
    results_in,
)
from schemas.requests import DEFAULT_OPTIONS, CallOptions
from serve_app.audio.clip import Recording
from serve_app.model.protocol import ModelInfo
from serve_app.router.protocol import Identity, Probe
from serve_app.router.results import Result
from serve_app.system.logs import log_location
from serve_app.system.ray_adapter import (
    death_of,
    method_by_reference,
    own_name,
    ray,
    serve,
    shortage_of,
    use_separate_loop,
)

logger = logging.getLogger(__name__)


class RouterClient:
    """Calls the Router of a Serve application, from another application or another process.

    Created and used on one event loop. This process must be connected to Ray, by `connect` of
    `serve_app.cluster.ray_cluster` or `start` of `serve_app.cluster.application`. The application
    need not be up yet: until it is, calls return `ROUTER_UNAVAILABLE`.

    Args:
        app_name: `serve.app` of the settings.
        timeout_s: longest wait for an answer to `transcribe`.
        settings: `settings_digest` of the settings that the caller means: with other ones, every
            record comes back as `OTHER_SETTINGS`, and a probe finds no Router. None takes any, or
            what the options of a call say.
    """

    def __init__(
        self, app_name: str, timeout_s: float = 300.0, settings: str | None = None
    ) -> None:
        self._app_name = app_name
        self._timeout_s = timeout_s
        self._settings = settings
        self._handle: Any = None

    async def transcribe(
        self,
        records: Sequence[ManifestRecord],
        options: CallOptions = DEFAULT_OPTIONS,
        clips: Sequence[Recording] | None = None,
    ) -> list[Result]:
        """One `Transcript` or `RecordError` per record, in order. Raises only when cancelled.

        If the Router is down or does not answer in time, every record of the list comes back as
        `ROUTER_UNAVAILABLE` (or `OVERLOADED`), which is retryable. If it dies while it works on the
        list, every record comes back as `ROUTER_DIED`, and if it raises, as `INTERNAL_FAULT`: one
        of them may be the cause.

        Args:
            records: the records.
            options: of the call.
            clips: the records' audio at `SAMPLE_RATE`, if no files are to be read.
        """
        try:
            call = encoded_call(records, options, self._settings)
        except (ValueError, TypeError, RecursionError) as error:
            log_location(error)
            reason = f"the records cannot be sent ({type(error).__name__})"
            return _failed(records, ErrorCode.INTERNAL_FAULT, reason)
        return results_in(await self.transcribe_encoded(call, clips))

    async def transcribe_encoded(
        self, call: bytes, clips: Sequence[Recording] | None = None
    ) -> bytes:
        """`transcribe` for who has the call encoded, and passes the answer on.

        Args:
            call: see `schemas.records_call`.
            clips: see `transcribe`.
        """
        try:
            audio = None if clips is None else list(clips)
            answer = await self._call("transcribe", self._timeout_s, call, own_name(), audio)
            return cast(bytes, answer)
        except _UnavailableError as error:
            records = decode(call, RecordsCall).records
            return encode(RecordsAnswer.of(_failed(records, error.code, str(error))))

    async def probe(self, timeout_s: float = 5.0) -> Probe:
        """Ask the Router and, through it, every model for a sign of life. Never raises.

        Takes at most about `timeout_s` seconds.
        """
        try:
            wanted = self._settings
            if wanted is not None and (await self.identity(timeout_s)).settings != wanted:
                return Probe(router=False)
            answers: dict[str, bool | None] = await self._call("probe", timeout_s + 1, timeout_s)
        except _UnavailableError:
            return Probe(router=False)
        return Probe(
            router=True,
            silent=tuple(name for name, answered in answers.items() if answered is False),
            missing=tuple(name for name, answered in answers.items() if answered is None),
        )

    async def identity(self, timeout_s: float = 5.0) -> Identity:
        """Say what the Router serves.

        Raises:
            ConnectionError: it does not answer.
        """
        return cast(Identity, await self._call("identity", timeout_s))

    async def info(self, timeout_s: float = 30.0) -> dict[str, ModelInfo]:
        """Describe what each model serves, by name.

        Raises:
            ConnectionError: the Router or a model does not answer.
        """
        return cast(dict[str, ModelInfo], await self._call("info", timeout_s))

    async def _call(self, method: str, timeout_s: float, *args: Any) -> Any:
        response = None
        try:
            async with asyncio.timeout(timeout_s):
                if self._handle is None:
                    self._handle = await asyncio.to_thread(_handle, self._app_name)
                response = method_by_reference(self._handle, method).remote(*args)
                return await response
        except (TimeoutError, asyncio.CancelledError) as error:
            if response is not None:
                response.cancel()
            if isinstance(error, TimeoutError):
                raise _UnavailableError(
                    f"the Router did not answer within {timeout_s:g} s"
                ) from None
            raise
        except ray.serve.exceptions.BackPressureError:
            raise _UnavailableError(
                "the Router is overloaded: too many calls are waiting", ErrorCode.OVERLOADED
            ) from None
        except (ray.exceptions.OutOfDiskError, ray.exceptions.ObjectStoreFullError) as error:
            logger.warning("Router: %s failed: %s", method, shortage_of(error))
            raise _UnavailableError(
                f"the Router cannot be given this: {shortage_of(error)}"
            ) from error
        except ray.exceptions.RayTaskError as error:
            # the Router answers, with an exception of its own: a bug that this list brings out
            log_location(error)
            raise _UnavailableError(
                f"internal error of the Router ({type(error).__name__})", ErrorCode.INTERNAL_FAULT
            ) from error
        except Exception as error:
            if (death := death_of(error)) is not None:
                logger.warning("Router: its replica %s while it worked on %s", death, method)
                raise _UnavailableError(
                    f"the Router's replica {death} while it worked on this", ErrorCode.ROUTER_DIED
                ) from error
            name = type(error).__name__
            logger.warning("Router: %s failed (%s)", method, name)
            raise _UnavailableError(f"the Router is not reachable, or failed ({name})") from error


def _handle(app_name: str) -> Any:
    """A handle of the application's Router. Blocks."""
    handle = serve.get_app_handle(app_name)
    use_separate_loop(handle)
    return handle


def _failed(records: Sequence[ManifestRecord], code: ErrorCode, reason: str) -> list[Result]:
    return [RecordError(id=each.id, code=code, message=reason) for each in records]


class _UnavailableError(ConnectionError):
    """The Router gave no answer; `code` is the error code of its records."""

    def __init__(self, message: str, code: ErrorCode = ErrorCode.ROUTER_UNAVAILABLE) -> None:
        super().__init__(message)
        self.code = code
