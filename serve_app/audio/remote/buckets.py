"""Recordings in a bucket: S3 and what speaks its protocol, Google Cloud Storage, Azure.

Credentials and endpoints are found as those stores' own tools find them: see
`serve_app.registry.object_store`. A request that fails, is throttled or breaks off is tried again
by the library, which goes on where it broke off.
"""

from __future__ import annotations

import os
import re
import threading
from datetime import timedelta
from typing import Any

from schemas.failures import ErrorCode
from serve_app.audio.errors import AudioError
from serve_app.audio.remote.locations import RemoteRoot
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

#: Tries beyond the first, over about 6 s. The client's own options are left to the environment.
_RETRIES: Any = {
    "max_retries": 6,
    "backoff": {
        "init_backoff": timedelta(milliseconds=50),
        "max_backoff": timedelta(seconds=3),
        "base": 2,
    },
    "retry_timeout": timedelta(seconds=30),
}
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
#: Codes of S3 that say that the credentials of this process are wrong, or no longer right. No
#: record is at fault, and an operator will mend it.
_OWN_FAULT = frozenset(
    {
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "RequestExpired",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
    }
)


class BucketReader:
    """Objects below a URL of a bucket; see `Reader`.

    Args:
        root: the URL.
        max_bytes: largest object.
    """

    knows_ranges = True

    def __init__(self, root: RemoteRoot, max_bytes: int) -> None:
        self._url = root.url
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._store: Any = None

    def read(self, wanted: Wanted, file: int) -> Sent | None:
        """See `Reader.read`."""
        obstore, exceptions = _library()
        options: Any = {"range": (wanted.start, wanted.stop)}
        if wanted.version is not None:
            options["if_match"] = wanted.version
        if wanted.known is not None:
            options["if_none_match"] = wanted.known
        try:
            store = self._opened()
            result = obstore.get(store, wanted.location.key, options=options)
            size, version = result.meta["size"], result.meta["e_tag"]
            if size > self._max_bytes:
                raise too_large(size, self._max_bytes)
            start, stop = result.range
            os.pwrite(file, memoryview(result.bytes()), start)
            return Sent(size, version, start, stop)
        except exceptions.NotModifiedError:
            return None
        except exceptions.PreconditionError:
            raise changed() from None
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise unavailable("its bucket is gone; see `audio.roots`") from None
            raise missing() from None
        except ValueError:  # a name that the library cannot write
            raise missing() from None
        except exceptions.BaseError as error:
            if _status(error) == 416 and self._is_empty(wanted):
                return Sent(0, None, 0, 0)
            raise _typed(error) from None

    def _opened(self) -> Any:
        from obstore.store import from_url

        with self._lock:
            if self._store is None:
                self._store = from_url(self._url, retry_config=_RETRIES)
            return self._store

    def _is_empty(self, wanted: Wanted) -> bool:
        """Whether an object has no bytes, so that no range of it can be sent."""
        obstore, exceptions = _library()
        try:
            return bool(obstore.head(self._store, wanted.location.key)["size"] == 0)
        except (exceptions.BaseError, OSError):
            return False


def _library() -> tuple[Any, Any]:
    try:
        import obstore
        from obstore import exceptions
    except ModuleNotFoundError:
        raise unavailable(
            "the package obstore is not installed: pip install 'chorus-asr[objectstore]'"
        ) from None
    return obstore, exceptions


def _status(error: Exception) -> int | None:
    found = _STATUS.search(str(error))
    return int(found[1]) if found else None


def _typed(error: Exception) -> AudioError:
    """The typed error for one of the library, whose text has the object's name and more."""
    from obstore import exceptions

    status, code = _status(error), _CODE.search(str(error))
    reason = code[1] if code else f"status {status}" if status else "no connection or credentials"
    if isinstance(error, exceptions.UnauthenticatedError) or reason in _OWN_FAULT:
        return unavailable(f"its store does not accept the credentials ({reason})")
    if isinstance(error, exceptions.PermissionDeniedError):
        return refused(reason)
    if status is None or status in TRANSIENT:
        return unavailable(f"its store does not answer as it should ({reason})")
    return AudioError(
        ErrorCode.AUDIO_UNREADABLE,
        f"its store does not give it ({reason}); check its name and `audio.roots`",
    )
