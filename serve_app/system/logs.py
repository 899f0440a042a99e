"""Log unexpected errors without the personal data in their messages."""

from __future__ import annotations

import logging
import os
import traceback

logger = logging.getLogger(__name__)

#: The packages of this project.
PACKAGES = ("schemas", "serve_app", "workers")


class Told:
    """Remembers of what goes wrong again and again what a log has been told."""

    def __init__(self) -> None:
        self._last = ""

    def is_new(self, reason: str) -> bool:
        """Whether a reason is another one than before, and so to be told; it counts as told."""
        new = reason != self._last
        self._last = reason
        return new

    def over(self) -> None:
        """It goes well again: the next reason is new, whatever it is."""
        self._last = ""


def log_location(error: Exception) -> None:
    """Log the type of an unexpected error and where it was raised, see `location_of`.

    Its message is left out: it may contain a path or a transcript.
    """
    logger.error("unexpected error: %s", location_of(error))


def traceback_of(error: BaseException) -> str:
    """The types of an error and its causes, each with the frames that it passed, innermost last.

    Without messages, for the same reason, and without the folders of the files.
    """
    lines: list[str] = []
    each: BaseException | None = error
    while each is not None:
        lines.append(type(each).__name__)
        lines += [
            f'  File "{os.path.basename(frame.filename)}", line {frame.lineno}, in {frame.name}'
            for frame in traceback.extract_tb(each.__traceback__)
        ]
        if each.__cause__ is None and each.__suppress_context__:
            break
        each = each.__cause__ or each.__context__
    return "\n".join(lines)


def location_of(error: Exception) -> str:
    """The type of an error and where it was raised: ``KeyError at choose:12 in rules.py``."""
    name = type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return name
    where = frames[-1]
    return f"{name} at {where.name}:{where.lineno} in {os.path.basename(where.filename)}"
