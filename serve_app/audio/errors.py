"""The typed error of audio that cannot be loaded, and its mapping from errors of the system."""

from __future__ import annotations

import errno

from schemas.failures import ErrorCode


class AudioError(Exception):
    """Audio that could not be loaded.

    Attributes:
        code: one of the `AUDIO_*` codes; `schemas.failures.failure_class` has its class.
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
        errno.EDQUOT,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EIO,
        errno.EMFILE,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ENOSPC,
        errno.ENOTCONN,
        errno.EREMOTEIO,
        errno.ESTALE,
        errno.ETIMEDOUT,
    }
)
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})


def from_os_error(error: OSError) -> AudioError:
    """The typed error for `error`, without its file name: a record may use another name."""
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
