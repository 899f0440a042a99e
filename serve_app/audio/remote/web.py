"""Recordings on a web server, by https.

A host is looked up here, and connections go to the addresses that were found and checked: between
the check and the use nothing can change. Redirects are followed below the root only.
"""

from __future__ import annotations

import os
import random
import re
import threading
import time
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from urllib3 import BaseHTTPResponse, HTTPSConnectionPool, Timeout
from urllib3.exceptions import HTTPError

from schemas.failures import ErrorCode
from serve_app.audio.errors import AudioError
from serve_app.audio.remote.addresses import resolve
from serve_app.audio.remote.locations import Location, RemoteRoot
from serve_app.audio.remote.reader import (
    TRANSIENT,
    Sent,
    Wanted,
    changed,
    missing,
    refused,
    too_large,
    unavailable,
)

_TRIES = 6
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 3.0
_TIMEOUT = Timeout(connect=5.0, read=15.0)
#: Seconds for one answer: a server that sends a byte now and then must not hold a thread.
_LONGEST_S = 60.0
#: Seconds after which a host is looked up again.
_LOOKUP_S = 60.0
_CONNECTIONS = 32
_REDIRECTS = 3
_CHUNK = 1 << 18
_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+)")


class _Again(Exception):  # noqa: N818  never leaves this module
    """Another try may do; `error` is what is raised after the last one."""

    def __init__(self, error: AudioError, after_s: float = 0.0) -> None:
        super().__init__(str(error))
        self.error = error
        self.after_s = after_s


class _Host(NamedTuple):
    """A host that was looked up: a pool of connections for each address, in turn."""

    pools: list[HTTPSConnectionPool]
    until: float


class WebReader:
    """Files below a web address; see `Reader`.

    Args:
        root: the address.
        max_bytes: largest file.
        allow_private: whether the host may have addresses that are not public.
    """

    knows_ranges = False  # some servers do, some do not

    def __init__(self, root: RemoteRoot, max_bytes: int, *, allow_private: bool) -> None:
        self._root = root
        self._max_bytes = max_bytes
        self._allow_private = allow_private
        parts = urlsplit(root.url)
        self._name, self._port = parts.hostname or "", parts.port or 443
        self._lock = threading.Lock()
        self._host: _Host | None = None

    def read(self, wanted: Wanted, file: int) -> Sent | None:
        """See `Reader.read`."""
        pause = _FIRST_PAUSE_S
        for number in range(1, _TRIES + 1):
            try:
                return self._read_once(wanted, file, number)
            except _Again as again:
                if number == _TRIES:
                    raise again.error from None
                time.sleep(max(random.uniform(pause / 2, pause), again.after_s))
                pause = min(2 * pause, _LONGEST_PAUSE_S)
        raise AssertionError("unreachable")

    def _read_once(self, wanted: Wanted, file: int, number: int) -> Sent | None:
        location = wanted.location
        for _ in range(_REDIRECTS + 1):
            response = self._ask(location, wanted, number)
            try:
                if response.status == 304:
                    return None
                if not 300 <= response.status < 400:
                    return self._take(response, wanted, file)
                location = self._redirected(location, response.headers.get("Location", ""))
            except HTTPError:
                raise _Again(unavailable("its server broke off")) from None
            finally:
                # what is left of a body is not worth waiting for
                response.close()
        raise _elsewhere()

    def _ask(self, location: Location, wanted: Wanted, number: int) -> BaseHTTPResponse:
        headers = {
            "Host": self._root.authority,
            "User-Agent": "chorus-asr",
            "Accept-Encoding": "identity",
            "Range": f"bytes={wanted.start}-{wanted.stop - 1}",
        }
        if wanted.known is not None:
            headers["If-None-Match"] = wanted.known
        pools = self._pools()
        try:
            return pools[number % len(pools)].urlopen(
                "GET",
                self._root.address(location),
                headers=headers,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=_TIMEOUT,
            )
        except HTTPError as error:
            with self._lock:
                self._host = None  # its address may be another by now
            reason = f"its server does not answer ({type(error).__name__})"
            raise _Again(unavailable(reason)) from None

    def _pools(self) -> list[HTTPSConnectionPool]:
        with self._lock:
            if self._host is None or time.monotonic() > self._host.until:
                addresses = resolve(self._name, self._port, allow_private=self._allow_private)
                pools = [
                    HTTPSConnectionPool(
                        address,
                        self._port,
                        maxsize=_CONNECTIONS,
                        server_hostname=self._name,
                        assert_hostname=self._name,
                    )
                    for address in addresses
                ]
                self._host = _Host(pools, time.monotonic() + _LOOKUP_S)
            return self._host.pools

    def _redirected(self, location: Location, to: str) -> Location:
        """Where a redirect leads, if that is below the root."""
        here = f"https://{self._root.authority}{self._root.address(location)}"
        found = self._root.find(urljoin(here, to)) if to else None
        if found is None:
            raise _elsewhere()
        return found

    def _take(self, response: BaseHTTPResponse, wanted: Wanted, file: int) -> Sent:
        """Write the body of an answer, if it has what is wanted."""
        status, version = response.status, response.headers.get("ETag")
        if status == 416 and (found := _RANGE.fullmatch(response.headers.get("Content-Range", ""))):
            return Sent(int(found[3]), version, 0, 0)
        if status not in (200, 206):
            raise _refusal(status, response.headers)
        if wanted.version is not None and version != wanted.version:
            raise changed()
        if status == 200:
            length = response.headers.get("Content-Length", "")
            size = int(length) if length.isdigit() else None
            if size is not None and size > self._max_bytes:
                raise too_large(size, self._max_bytes)
            end = self._copy(response, file, 0, self._max_bytes)
            return Sent(end, version, 0, end)
        found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if found is None or found[1] is None or int(found[1]) != wanted.start:
            raise unavailable("its server sends another part than it was asked for")
        size = int(found[3])
        if size > self._max_bytes:
            raise too_large(size, self._max_bytes)
        stop = min(wanted.stop, size)
        end = self._copy(response, file, wanted.start, stop)
        if end < stop:
            raise _Again(unavailable("its server broke off"))
        return Sent(size, version, wanted.start, end)

    def _copy(self, response: BaseHTTPResponse, file: int, start: int, most: int) -> int:
        """Write a body from `start` on; where it ends. What is behind `most` is refused."""
        deadline = time.monotonic() + _LONGEST_S
        for chunk in response.stream(_CHUNK):
            if start + len(chunk) > most:
                raise too_large(start + len(chunk), self._max_bytes)
            start += os.pwrite(file, chunk, start)
            if time.monotonic() > deadline:
                raise unavailable(f"its server took more than {_LONGEST_S:g} s")
        return start


def _refusal(status: int, headers: Mapping[str, str]) -> Exception:
    if status in (404, 410):
        return missing()
    if status in TRANSIENT:
        after = headers.get("Retry-After", "")
        seconds = min(float(after), _LONGEST_PAUSE_S) if after.isdigit() else 0.0
        return _Again(unavailable(f"its server answers with status {status}"), seconds)
    return refused(f"status {status}")


def _elsewhere() -> AudioError:
    return AudioError(
        ErrorCode.AUDIO_OUTSIDE_ROOTS,
        "its server redirects to an address outside of the root, or again and again",
    )
