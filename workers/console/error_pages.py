"""Pages for what goes wrong: each says what to do."""

from __future__ import annotations

from typing import Any

from litestar import Response
from litestar.exceptions import HTTPException, NotAuthorizedException
from litestar.response import Redirect

from serve_app.http.errors import ApiError
from serve_app.system.logs import log_location
from workers.console.rendering import page
from workers.console.state import AnyRequest

_TITLES = {
    400: "This cannot be done as it was asked",
    401: "Sign in first",
    403: "Your key does not allow this",
    404: "There is nothing here",
    405: "This cannot be done here",
    413: "This is too large",
    429: "Too many tries",
    503: "This does not answer at the moment",
}


def answer_http_error(request: AnyRequest, error: HTTPException) -> Response[Any]:
    """The page of an error of Litestar's or of a handler; to sign in for who has not."""
    if isinstance(error, NotAuthorizedException) and request.method == "GET":
        if request.headers.get("hx-request"):
            return Response("", status_code=401, headers={"hx-redirect": "/sign-in"})
        return Redirect("/sign-in")
    return _answer(request, error.status_code, error.detail)


def answer_api_error(request: AnyRequest, error: ApiError) -> Response[Any]:
    """The page of an error of what the console shares with the HTTP API."""
    return _answer(request, error.status, error.message)


def answer_unreachable(request: AnyRequest, error: ConnectionError) -> Response[Any]:
    """The page where Kafka or a cluster does not answer."""
    return _answer(request, 503, str(error))


def answer_fault(request: AnyRequest, error: Exception) -> Response[Any]:
    """The page of a bug; the log says where, and never what was said."""
    log_location(error)
    reason = f"internal error ({type(error).__name__}); the log of `chorus console` says where"
    return _answer(request, 500, reason)


def _answer(request: AnyRequest, status: int, reason: str) -> Response[Any]:
    title = _TITLES.get(status, "This went wrong")
    part = "error_part.html.j2" if request.headers.get("hx-request") else "error.html.j2"
    return page(request, part, status=status, title=title, status_code=status, reason=reason)
