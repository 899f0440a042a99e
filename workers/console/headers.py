"""Headers of every answer: what a page may load, and that nobody else may frame or keep it.

Scripts and styles come from this console's own files alone. The one exception is the style that
wavesurfer.js puts into its shadow tree: it bears a nonce, which is another one for each answer.
"""

from __future__ import annotations

import secrets
from typing import Any, TypeVar

from litestar import Response
from litestar.datastructures import MutableScopeHeaders
from litestar.types import Message, Scope

T = TypeVar("T", bound=Response[Any])
_NONCE = "style_nonce"
_POLICY_HEADER = "content-security-policy"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self'; "
    "media-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
#: Of a file of others in a frame: nothing runs or is loaded, and only the console may show it.
_FRAME_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'self'"
)
_ALWAYS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
}


def nonce_of(scope: Scope) -> str:
    """The nonce of the answer to a request."""
    state = scope.setdefault("state", {})
    nonce: str = state.setdefault(_NONCE, secrets.token_urlsafe(16))
    return nonce


def framing(request: Any, answer: T) -> T:
    """An answer whose page has a frame of the console's own files."""
    policy = _POLICY.format(nonce=nonce_of(request.scope))
    answer.headers[_POLICY_HEADER] = f"{policy}; frame-src 'self'"
    return answer


def of_a_frame() -> dict[str, str]:
    """The headers of a page of others, which is shown in a frame."""
    # a page that is opened by itself and is in a sandbox can have no other policy for openers
    return {_POLICY_HEADER: _FRAME_POLICY, "cross-origin-opener-policy": "unsafe-none"}


async def with_headers(message: Message, scope: Scope) -> None:
    """Add the headers to an answer; a hook of Litestar's."""
    if message["type"] != "http.response.start":
        return
    headers = MutableScopeHeaders.from_message(message)
    headers.setdefault(_POLICY_HEADER, _POLICY.format(nonce=nonce_of(scope)))
    for name, value in _ALWAYS.items():
        headers.setdefault(name, value)
    # transcripts are nothing for a shared disk
    headers.setdefault("cache-control", "no-store")
