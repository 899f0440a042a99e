"""Signing in and out."""

from __future__ import annotations

from typing import Annotated

from litestar import get, post
from litestar.datastructures import Cookie
from litestar.enums import RequestEncodingType
from litestar.params import Body
from litestar.response import Redirect, Template

from serve_app.http.errors import ApiError
from workers.console.access import COOKIE
from workers.console.pages import Page
from workers.console.rendering import page
from workers.console.state import AnyRequest, Console

Form = Annotated[dict[str, str], Body(media_type=RequestEncodingType.URL_ENCODED)]


@get("/sign-in", sync_to_thread=False)
def show_sign_in(request: AnyRequest) -> Template:
    """The page that asks for a key."""
    return page(request, "sign_in.html.j2", reason="")


@post("/sign-in", status_code=303, sync_to_thread=False)
def sign_in(request: AnyRequest, console: Console, data: Form) -> Template | Redirect:
    """Begin a session with a key."""
    if console.access.open:
        return Redirect("/", status_code=303)
    address = request.client.host if request.client is not None else ""
    try:
        session = console.access.sign_in(data.get("key", ""), address)
    except ApiError as error:
        return page(request, "sign_in.html.j2", status=error.status, reason=error.message)
    secure = request.url.scheme == "https"
    cookie = Cookie(COOKIE, value=session, httponly=True, secure=secure, samesite="strict")
    return Redirect("/", status_code=303, cookies=[cookie])


@post("/sign-out", status_code=303, sync_to_thread=False)
def sign_out(request: AnyRequest, console: Console) -> Redirect:
    """End the session."""
    console.access.sign_out(request)
    return Redirect("/sign-in", status_code=303, cookies=[Cookie(COOKIE, value="", max_age=0)])


PAGE = Page(None, "/sign-in", "figures", (show_sign_in, sign_in, sign_out))
