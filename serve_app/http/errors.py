"""HTTP error responses, in the shape that OpenAI's clients read."""

from __future__ import annotations

import re
from collections.abc import Iterable

from schemas.failures import ErrorCode, FailureClass, RecordError
from schemas.transcription_api import ErrorBody, ErrorDetails

#: Seconds after which a client should try again while something is down.
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
    """A request that is answered with an error status.

    Args:
        status: HTTP status code.
        message: what is wrong and what to do, for people.
        param: name of the parameter at fault.
        code: error code, for programs.
        retry_after_s: seconds after which the client should try again; `RETRY_AFTER_S` by default.
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
        """The body of the response."""
        kind = _TYPES.get(self.status, "invalid_request_error")
        return ErrorBody(ErrorDetails(self.message, kind, self.param, self.code))

    @property
    def headers(self) -> dict[str, str]:
        """Headers that tell a client how to authenticate, or when to try again."""
        if self.status == 401:
            return {"www-authenticate": "Bearer"}
        if self.status == 408:
            return {"connection": "close"}  # else the client may go on sending the rest
        if self.status not in (429, 503):
            return {}
        return {"retry-after": str(max(1, round(self.retry_after_s)))}


#: Faults of Chorus or of a model's engine, not of the file.
_OURS = frozenset({ErrorCode.ROUTER_FAULT, ErrorCode.MODEL_FAULT, ErrorCode.INTERNAL_FAULT})


def invalid(message: str, param: str | None = None) -> ApiError:
    """An invalid parameter or body: status 400."""
    return ApiError(400, message, param=param, code="invalid_request")


def unknown_model(name: str, models: Iterable[str], advice: str) -> ApiError:
    """The error of a model that is not served: status 404.

    Args:
        name: that was asked for.
        models: all that may be.
        advice: where to look, unless the name is that of a version or of an alias.
    """
    found = re.fullmatch(r"([^:@]+)([:@])(.+)", name)
    model = found[1] if found else ""
    known = list(models)
    if found is None or model not in known:
        reason = f"this model does not exist; {advice}"
    elif versions := [each for each in known if each.startswith(f"{model}:")]:
        reason = (
            f"`{name}` is not served: the settings of `{model}` name `{versions[0]}`; ask for "
            f"that, or for `{model}`"
        )
    else:
        what = "version" if found[2] == ":" else "alias"
        reason = (
            f"no {what} can be asked for here, since the settings of `{model}` name no version; "
            f"ask for `{model}`, and the answer says which version it was"
        )
    return ApiError(404, reason, param="model", code="model_not_found")


def record_error(error: RecordError) -> ApiError:
    """The response for a record that was not transcribed, however often it was tried."""
    code = error.code.value
    if error.failure is FailureClass.RETRYABLE:
        return ApiError(503, f"{error.message}; try again", code=code)
    if error.code in _OURS:
        return ApiError(500, error.message, code=code)
    if error.code is ErrorCode.MODEL_MISSING:  # why is for operators: it may name their files
        reason = f"the model {error.model} is not available: it did not load"
        return ApiError(503, reason, param="model", code=code)
    param = "channel" if error.code is ErrorCode.AUDIO_CHANNEL else "file"
    return ApiError(_STATUS.get(error.code, 400), error.message, param=param, code=code)
