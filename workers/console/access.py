"""Who may see and do what: keys become sessions, and roles open pages.

Without keys in the settings everybody who reaches the console may do everything; it then listens
on a loopback address only, and answers only to names of this machine (`hosts`), so that no web page
elsewhere can reach it by a name of its own (DNS rebinding).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from time import monotonic
from typing import Any, get_args

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.exceptions import NotAuthorizedException, PermissionDeniedException
from litestar.handlers import BaseRouteHandler
from litestar.types import ASGIApp, Guard, Receive, Scope, Send

from schemas.settings import ConsoleSettings, Role
from serve_app.http.keys import KeyRing

#: Name of the cookie that holds the session.
COOKIE = "chorus_console"
#: Roles, each with everything that the ones before it may.
_ROLES: tuple[Role, ...] = get_args(Role)
#: What a browser on this machine calls it.
_OWN_HOSTS = ("localhost", "127.0.0.1", "[::1]")
#: Sessions at once; with more, the one that was used longest ago ends.
_MAX_SESSIONS = 1000
#: Methods of requests that send nothing.
_READING = ("GET", "HEAD", "OPTIONS")

Connection = ASGIConnection[Any, Any, Any, Any]


class User(msgspec.Struct, frozen=True):
    """Who uses the console.

    Attributes:
        name: of the key in the settings.
        role: what that key allows.
    """

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Whether what needs `role` is open to this user."""
        return _ROLES.index(self.role) >= _ROLES.index(role)


#: The user where the settings have no keys.
ANYBODY = User("anybody", "act")


class Access:
    """Signs users in, and finds the user of a request. Belongs to one event loop.

    Args:
        settings: the section `console` of the settings.
        clock: the time in seconds, from any start.

    Raises:
        SettingsError: a key is not in the environment, or is there twice.
    """

    def __init__(self, settings: ConsoleSettings, clock: Callable[[], float] = monotonic) -> None:
        self._settings = settings
        self._keys = KeyRing(settings)
        self._clock = clock
        self._longest_s = settings.session_hours * 3600
        self._hosts = {*_OWN_HOSTS, settings.host.lower(), *map(str.lower, settings.hosts)}
        #: User and time of the last request by session; the one that was used last is at the end.
        self._sessions: dict[str, tuple[User, float]] = {}

    def check_host(self, request: Request[Any, Any, Any]) -> None:
        """Refuse a request for a name that is not this console's, where there are no keys.

        Raises:
            HTTPException: 403.
        """
        host = re.sub(r":[0-9]*$", "", request.headers.get("host", "")).lower()
        if self.open and host not in self._hosts:
            raise PermissionDeniedException(
                "the console has another name; add this one to `console.hosts`, or set keys"
            )

    @property
    def open(self) -> bool:
        """Whether there are no keys."""
        return not self._keys

    def sign_in(self, key: str, address: str) -> str:
        """Begin a session.

        Args:
            key: as it was typed.
            address: where the request comes from.

        Returns:
            The value of the cookie.

        Raises:
            ApiError: 401 or 429, see `KeyRing.owner`.
        """
        name = self._keys.owner(key, address)
        session = secrets.token_urlsafe(32)
        self._sessions[session] = (User(name, self._settings.keys[name].role), self._clock())
        if len(self._sessions) > _MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        return session

    def sign_out(self, connection: Connection) -> None:
        """End the session of a request."""
        self._sessions.pop(connection.cookies.get(COOKIE, ""), None)

    def knows(self, connection: Connection) -> bool:
        """Whether the session of a request goes on; unlike `user`, this does not prolong it."""
        found = self._sessions.get(connection.cookies.get(COOKIE, ""))
        return self.open or (found is not None and self._clock() - found[1] <= self._longest_s)

    def user(self, connection: Connection) -> User | None:
        """The user of a request; None who has not signed in."""
        if self.open:
            return ANYBODY
        session = connection.cookies.get(COOKIE, "")
        found = self._sessions.pop(session, None)
        if found is None:
            return None
        user, seen = found
        now = self._clock()
        if now - seen > self._longest_s:
            return None
        self._sessions[session] = (user, now)
        return user


def needs(role: Role) -> Guard:
    """A guard that lets pass who may what `role` may."""

    def guard(connection: Connection, handler: BaseRouteHandler) -> None:
        user = connection.app.state.console.access.user(connection)
        if user is None:
            raise NotAuthorizedException("sign in first")
        if not user.may(role):
            raise PermissionDeniedException(_REFUSALS[role])

    return guard


def signed_in_first(app: ASGIApp) -> ASGIApp:
    """A middleware that reads nothing of what is sent without a session, but for a key.

    Guards come after the check for the token of a page, and that reads whole forms.
    """

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        sends = scope["type"] == ScopeType.HTTP and scope["method"] not in _READING
        if sends and scope["path"] != "/sign-in":
            connection = ASGIConnection[Any, Any, Any, Any](scope)
            if not connection.app.state.console.access.knows(connection):
                raise NotAuthorizedException("sign in first")
        await app(scope, receive, send)

    return handle


_REFUSALS: dict[Role, str] = {
    "figures": "your key does not open this page",
    "speech": "your key opens figures, and no transcripts or audio",
    "act": "your key opens what is to be read, and nothing that acts",
}
