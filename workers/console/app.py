"""The ASGI application of the console."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any

from litestar import Litestar, get
from litestar.config.csrf import CSRFConfig
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.response import Redirect
from litestar.template import TemplateConfig

from schemas.settings import Settings
from serve_app.http.errors import ApiError
from serve_app.router.protocol import Backend
from workers.console import error_pages, signing_in
from workers.console.access import Access, signed_in_first
from workers.console.audio import AudioReader
from workers.console.headers import with_headers
from workers.console.pages import Page
from workers.console.rendering import template_engine
from workers.console.state import Console
from workers.console.static_files import static_files
from workers.console.topics import Topics

#: Of the browser's cookie and of htmx's header against requests that other pages make it send.
CSRF_COOKIE, CSRF_HEADER = "chorus_csrf", "x-csrf-token"


def make_console(
    settings: Settings, topics: Topics, connect: Callable[[], Backend], pages: Sequence[Page]
) -> Litestar:
    """Make the application.

    Args:
        settings: the whole file.
        topics: what is read of Kafka.
        connect: connects to the Router, when it is needed first; blocks, and raises a
            `ConnectionError` where there is none.
        pages: in the order of the navigation; `/` leads to the first one.

    Raises:
        SettingsError: a key is not in the environment, or is there twice.
    """
    section = settings.console
    console = Console(settings, Access(section), topics, AudioReader(settings.audio), connect)

    @get("/", sync_to_thread=False)
    def home() -> Redirect:
        return Redirect(pages[0].path)

    handlers: list[Any] = [home, *static_files()]
    for each in (*pages, signing_in.PAGE):
        handlers += each.handlers
    return Litestar(
        handlers,
        state=State({"console": console, "pages": tuple(pages)}),
        dependencies={"console": Provide(_console, sync_to_thread=False)},
        template_config=TemplateConfig(instance=template_engine()),
        csrf_config=CSRFConfig(
            secret=secrets.token_hex(32),
            cookie_name=CSRF_COOKIE,
            header_name=CSRF_HEADER,
            cookie_httponly=True,
            cookie_samesite="strict",
        ),
        middleware=[signed_in_first],
        before_request=console.access.check_host,
        before_send=[with_headers],
        exception_handlers={
            HTTPException: error_pages.answer_http_error,
            ApiError: error_pages.answer_api_error,
            ConnectionError: error_pages.answer_unreachable,
            Exception: error_pages.answer_fault,
        },
        on_startup=[each.start for each in pages if each.start is not None],
        on_shutdown=[each.stop for each in pages if each.stop is not None],
        openapi_config=None,
        logging_config=None,
        request_max_body_size=section.max_upload_bytes,
    )


def _console(state: State) -> Console:
    found: Console = state.console
    return found
