"""A `Backend` that calls the Router of an application elsewhere, through its HTTP API.

It needs neither Ray nor the packages of the models.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import aiohttp
import msgspec

from schemas.manifest import ManifestRecord
from schemas.records_call import MEDIA_TYPE, PATH, RecordsInfo, encoded_call, results_in
from schemas.requests import DEFAULT_OPTIONS, CallOptions
from schemas.transcription_api import ErrorBody, Readiness
from serve_app.router.protocol import Probe
from serve_app.system.logs import Told

if TYPE_CHECKING:
    from serve_app.audio.clip import Recording
    from serve_app.router.results import Result

logger = logging.getLogger(__name__)

_CONNECT_S = 10.0


class RefusedError(ConnectionError):
    """The API takes no records of this worker: its key or its settings are not those of the API."""


class HttpBackend:
    """Calls the Router behind an HTTP API of `chorus serve` or `chorus deploy`.

    Each call has a connection of its own, so that what balances the load spreads the calls.

    Args:
        url: of the API, ``https://HOST:PORT``.
        settings: `settings_digest` of the settings that the caller means: with other ones, every
            record comes back as `OTHER_SETTINGS`.
        key: API key; None where the API needs none.
        timeout_s: longest wait for an answer.
    """

    def __init__(
        self, url: str, settings: str, *, key: str | None = None, timeout_s: float = 300.0
    ) -> None:
        self._url = url.rstrip("/")
        self._settings = settings
        self._headers = {"authorization": f"Bearer {key}"} if key is not None else {}
        self._timeout_s = timeout_s
        self._told = Told()

    async def check(self) -> None:
        """Check that the API takes the key, and that its settings are those of this worker.

        Raises:
            RefusedError: not so, or there is no such API.
            OSError: it does not answer, or not now.
        """
        info = msgspec.json.decode(await self._ask("GET", PATH, _CONNECT_S), type=RecordsInfo)
        if info.settings != self._settings:
            raise RefusedError(
                f"the application at {self._url} runs with other models, plans, rules or limits "
                "than these settings; use its settings, with the same paths, or deploy these"
            )
        logger.info("the application behind %s, settings %s", self._url, self._settings[:12])

    async def transcribe(
        self,
        records: Sequence[ManifestRecord],
        options: CallOptions = DEFAULT_OPTIONS,
        clips: Sequence[Recording] | None = None,
    ) -> list[Result]:
        """See `Backend.transcribe`; audio cannot be sent, the Router reads the files.

        Raises:
            ConnectionError: there is no answer, or it is none.
            TimeoutError: none in time.
        """
        if clips is not None:
            raise ValueError("audio cannot be sent")
        call = encoded_call(records, options, self._settings)
        body = await self._ask("POST", PATH, self._timeout_s, call)
        try:
            return results_in(body)
        except ValueError as error:
            raise self._failed(f"its answer cannot be read ({error})") from None

    async def probe(self, timeout_s: float = 5.0) -> Probe:
        """Ask whether the Router and its models are up."""
        try:
            body = await self._ask("GET", "/ready", timeout_s, also=(503,))
            found = msgspec.json.decode(body, type=Readiness)
        except (OSError, msgspec.DecodeError):
            return Probe(router=False)
        missing = tuple(found.missing)
        silent = [name for name, up in found.models.items() if not up and name not in missing]
        return Probe(router=found.router, silent=tuple(silent), missing=missing)

    async def _ask(
        self,
        method: str,
        path: str,
        timeout_s: float,
        body: bytes | None = None,
        also: Sequence[int] = (),
    ) -> bytes:
        """The body of an answer of status 200, or one of `also`."""
        headers = {**self._headers, **({"content-type": MEDIA_TYPE} if body is not None else {})}
        limits = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(timeout_s, _CONNECT_S))
        try:
            async with (
                aiohttp.ClientSession(headers=headers, timeout=limits) as session,
                session.request(
                    method, self._url + path, data=body, allow_redirects=False
                ) as answer,
            ):
                found = await answer.read()
        except TimeoutError:
            self._failed(f"no answer within {timeout_s:g} s")
            raise TimeoutError(
                f"the API at {self._url}: no answer within {timeout_s:g} s"
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._failed(f"it cannot be reached ({type(error).__name__})") from None
        if answer.status == 200 or answer.status in also:
            self._told.over()
            return found
        message = _message(found)
        failed = self._failed(f"it answered {answer.status}: {message or 'without a reason'}")
        # a 404 that is not the API's own is of a proxy that does not know it yet
        if answer.status in (401, 403) or (answer.status == 404 and message is not None):
            raise RefusedError(f"{self._url}: {message or 'without a reason'}")
        raise failed

    def _failed(self, reason: str) -> ConnectionError:
        """The error for a call that failed; the log has it once, until another reason comes."""
        if self._told.is_new(reason):
            logger.warning("the API at %s: %s", self._url, reason)
        return ConnectionError(f"the API at {self._url}: {reason}")


def _message(body: bytes) -> str | None:
    """The message of an error of the API; None if it is another program's."""
    try:
        return msgspec.json.decode(body, type=ErrorBody).error.message
    except msgspec.DecodeError:
        return None
