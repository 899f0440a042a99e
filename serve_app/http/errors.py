"""Errors as HTTP answers, in the shape that OpenAI's clients read."""

from __future__ import annotations

from schemas.failures import ErrorCode, FailureClass, RecordError
from schemas.transcription_api import ErrorBody, ErrorDetails

#: Seconds after which a client may try again while something is down.
RETRY_AFTER_S = 5

_STATUS = {
    ErrorCode.AUDIO_TOO_LARGE: 413,
    ErrorCode.AUDIO_TOO_LONG: 413,
    ErrorCode.AUDIO_UNSUPPORTED: 415,
}
_TYPES = {
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
}


class ApiError(Exception):
    """What a client is told instead of an answer.

    Args:
        status: of HTTP.
        message: for people: what is wrong, and what to do.
        param: name of the parameter at fault.
        code: for programs.
        retry_after_s: when to try again.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.retry_after_s = RETRY_AFTER_S if retry_after_s is None else retry_after_s

    @property
    def body(self) -> ErrorBody:
        """As it is sent."""
        kind = _TYPES.get(self.status, "invalid_request_error")
        return ErrorBody(ErrorDetails(self.message, kind, self.param, self.code))

    @property
    def headers(self) -> dict[str, str]:
        """What to do: which key to show, how long to wait."""
        if self.status == 401:
            return {"www-authenticate": "Bearer"}
        if self.status == 408:
            return {"connection": "close"}  # else the rest may go on arriving for ever
        if self.status not in (429, 503):
            return {}
        return {"retry-after": str(max(1, round(self.retry_after_s)))}


def invalid(message: str, param: str | None = None) -> ApiError:
    """The client's fault: 422."""
    return ApiError(422, message, param=param, code="invalid_request")


def of_record(error: RecordError) -> ApiError:
    """What became of a record, as an answer."""
    code = error.code.value
    if error.failure is FailureClass.POISON:
        if error.code is ErrorCode.ROUTER_FAULT:
            return ApiError(500, error.message, code=code)
        return ApiError(_STATUS.get(error.code, 422), error.message, param="file", code=code)
    return ApiError(503, f"{error.message}; try again", code=code)
