"""Headers of every answer: what a page may load, and that nobody may frame or keep it.

Scripts and styles come from this console's own files alone. The one exception is the style that
wavesurfer.js puts into its shadow tree: it bears a nonce, which is another one for each answer.
"""

from __future__ import annotations

import secrets

from litestar.datastructures import MutableScopeHeaders
from litestar.types import Message, Scope

_NONCE = "style_nonce"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self'; "
    "media-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
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


async def with_headers(message: Message, scope: Scope) -> None:
    """Add the headers to an answer; a hook of Litestar's."""
    if message["type"] != "http.response.start":
        return
    headers = MutableScopeHeaders.from_message(message)
    headers["content-security-policy"] = _POLICY.format(nonce=nonce_of(scope))
    for name, value in _ALWAYS.items():
        headers[name] = value
    if "cache-control" not in headers:
        headers["cache-control"] = "no-store"  # transcripts are nothing for a shared disk
