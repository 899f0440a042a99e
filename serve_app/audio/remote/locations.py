"""What a URL of a record names below a root, and that nothing else can be named."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, unquote

from schemas.failures import ErrorCode
from schemas.settings.audio import URL_SCHEMES
from serve_app.audio.errors import AudioError

#: Control characters, which some URL parsers drop, and the other slash, which some take for one.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\]")
#: Percent signs may be encoded themselves; so often it is looked whether dots are behind them.
_DECODINGS = 4


class Location(NamedTuple):
    """An object below a root.

    Attributes:
        key: its name below the root, not encoded.
        query: of a web address, such as a signature; a secret.
    """

    key: str
    query: str = ""


class RemoteRoot:
    """A URL of `audio.roots`.

    The URLs of buckets are taken as their stores' own tools take them: what follows the bucket is
    the object's name, character by character. A web address is percent-encoded.

    Args:
        url: ``scheme://bucket-or-host/prefix``, checked with the settings.
    """

    def __init__(self, url: str) -> None:
        self.scheme, self.authority, self.path = _split(url)
        self.is_web = self.scheme == "https"
        self._prefix = _names(self.path, encoded=self.is_web) if self.path else []

    @property
    def url(self) -> str:
        """The root, without a slash at its end."""
        return f"{self.scheme}://{self.authority}/{self.path}".rstrip("/")

    def find(self, url: str) -> Location | None:
        """What `url` names below this root; None if that is elsewhere.

        Raises:
            AudioError: `AUDIO_OUTSIDE_ROOTS`: it has ``..`` or other things that could lead out;
                `AUDIO_MISSING`: no object can have such a name.
        """
        scheme, authority, path = _split(url)
        if (scheme, authority) != (self.scheme, self.authority):
            return None
        query = ""
        if self.is_web:
            path, _, fragment = path.partition("#")
            path, _, query = path.partition("?")
            if fragment or not query.isascii() or " " in query:
                raise _outside()
        names = _names(path, encoded=self.is_web)
        count = len(self._prefix)
        if names[:count] != self._prefix or len(names) <= count:
            return None
        return Location("/".join(names[count:]), query)

    def below(self, relative: str) -> Location:
        """The object that a relative path names.

        Raises:
            AudioError: as of `find`.
        """
        names = [name for name in relative.split("/") if name != "."]
        return Location("/".join(_names("/".join(names), encoded=False)))

    def address(self, location: Location) -> str:
        """The path and query of a web address, encoded."""
        path = quote("/".join(["", *self._prefix, location.key]))
        return f"{path}?{location.query}" if location.query else path


def without_secrets(path: str) -> str:
    """A record's path as messages have it: of a URL without its query and its user."""
    scheme, separator, rest = path.partition("://")
    if not separator or scheme.lower() not in URL_SCHEMES:
        return path
    authority, slash, name = rest.partition("/")
    if scheme.lower() == "https":
        name = re.split(r"[?#]", name, maxsplit=1)[0]
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{name}"


def _split(url: str) -> tuple[str, str, str]:
    """The scheme, the bucket or host, and what follows the slash behind it."""
    scheme, _, rest = url.partition("://")
    authority, _, path = rest.partition("/")
    scheme = scheme.lower()
    if _UNSAFE.search(url) or "@" in authority:
        raise _outside()
    if scheme == "https":
        authority = authority.lower().removesuffix(":443")
    return scheme, authority, path


def _names(path: str, *, encoded: bool) -> list[str]:
    """The parts of a path between slashes, not encoded."""
    names = path.rstrip("/").split("/")
    for place, name in enumerate(names):
        if _leads_out(name):
            raise _outside()
        if encoded:
            names[place] = unquote(name)
            if "/" in names[place] or _UNSAFE.search(names[place]):
                raise _outside()
    if not all(names):
        raise AudioError(
            ErrorCode.AUDIO_MISSING, "names nothing between two slashes; check `audio_filepath`"
        )
    return names


def _leads_out(name: str) -> bool:
    """Whether some server could take a part of a path for the folder itself or the one above."""
    for _ in range(_DECODINGS):
        # servers take what follows a semicolon for a parameter of the part
        if name.partition(";")[0] in (".", "..") or any(each in name for each in ("/", "\\")):
            return True
        name = unquote(name)
    return False


def _outside() -> AudioError:
    return AudioError(
        ErrorCode.AUDIO_OUTSIDE_ROOTS,
        "may lead outside of `audio.roots`; write it without `..`, backslashes, control "
        "characters, a user or a fragment",
    )
