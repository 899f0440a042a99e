from __future__ import annotations

import errno
import pickle

import pytest

from schemas.failures import ErrorCode, FailureClass, failure_class
from serve_app.audio.errors import AudioError, from_os_error


@pytest.mark.parametrize(
    "number", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ETIMEDOUT, errno.ENOMEM]
)
def test_trouble_of_the_system_is_retried(number: int) -> None:
    error = from_os_error(OSError(number, "reason", "/secret/path"))
    assert error.code is ErrorCode.AUDIO_IO
    assert failure_class(error.code) is FailureClass.RETRYABLE
    assert "/secret" not in error.message


def test_other_errors_are_the_files() -> None:
    assert from_os_error(OSError(errno.EACCES, "")).code is ErrorCode.AUDIO_UNREADABLE
    assert from_os_error(OSError(errno.ENAMETOOLONG, "")).code is ErrorCode.AUDIO_MISSING


def test_an_error_survives_the_way_to_another_process() -> None:
    error = pickle.loads(pickle.dumps(AudioError(ErrorCode.AUDIO_EMPTY, "a.wav: empty")))
    assert (error.code, str(error)) == (ErrorCode.AUDIO_EMPTY, "a.wav: empty")
