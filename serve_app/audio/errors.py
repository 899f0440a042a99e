"""Why audio could not be loaded: the typed error, and what an error of the system means."""

from __future__ import annotations

import errno

from schemas.failures import ErrorCode


class AudioError(Exception):
    """Audio that could not be loaded.

    Attributes:
        code: one of the `AUDIO_*` codes; `schemas.failures.failure_class` says who owns it.
        message: what is wrong and what to do. From `AudioLoader.load` it begins with the path as
            the record gave it: never log it (paths are personal data).
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message


#: The storage or this process is in trouble, not the file: worth another try.
_TRANSIENT = frozenset(
    {
        errno.EAGAIN,
        errno.EBUSY,
        errno.ECONNABORTED,
        errno.ECONNRESET,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EIO,
        errno.EMFILE,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ENOTCONN,
        errno.EREMOTEIO,
        errno.ESTALE,
        errno.ETIMEDOUT,
    }
)
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})


def from_os_error(error: OSError) -> AudioError:
    """The typed error for `error`; its text without the file name, which is not the record's."""
    if error.errno in _TRANSIENT:
        return AudioError(
            ErrorCode.AUDIO_IO, f"could not be read just now: {error.strerror}; it is tried again"
        )
    if error.errno in _ABSENT:
        return AudioError(ErrorCode.AUDIO_MISSING, f"does not exist: {error.strerror}")
    return AudioError(
        ErrorCode.AUDIO_UNREADABLE,
        f"cannot be read: {error.strerror}; check the permissions of the file and its folders",
    )
