"""The message of an exception that came from another process as the text of its traceback."""

from __future__ import annotations

import re

from serve_app.system.deaths import of_deployment
from serve_app.system.logs import PACKAGES

#: The line before the frames: Python's, or Ray's for an exception that it passes on.
_START = re.compile(r"^.*Traceback \(most recent call last\):$|^ray::.*$", re.MULTILINE)
#: The line that names the exception: with its module, unless it is built in.
_EXCEPTION = re.compile(r"(?:[A-Za-z_][\w.]*\.)?[A-Za-z_]\w*(?:: |$)")
#: Exceptions of this project say all in their messages.
_OURS = re.compile(rf"(?:{'|'.join(PACKAGES)})\.[\w.]+: ")
#: Colours that Ray writes.
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def message_of(text: str) -> str:
    """The type and the whole message, all its lines, of the exception that `text` ends with.

    Args:
        text: what Python prints of an uncaught exception, possibly with other text in front.

    Returns:
        The message without the type for an exception of this project; a sentence where Serve says
        that a replica died; `text` itself if there is no traceback in it.
    """
    text = _COLOUR.sub("", text).strip()
    starts = list(_START.finditer(text))
    if not starts:
        return of_deployment(text) or text
    lines = text[starts[-1].end() :].strip("\n").splitlines()
    for number, line in enumerate(lines):  # the frames are indented
        if _EXCEPTION.match(line):
            message = "\n".join(lines[number:])
            return of_deployment(message) or _OURS.sub("", message, count=1).strip()
    return text
