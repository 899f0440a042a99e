"""How logs are written, and unexpected errors without the personal data in their messages."""

from __future__ import annotations

import logging
import os
import traceback
from datetime import UTC, datetime
from typing import Any

import msgspec
from opentelemetry import trace

logger = logging.getLogger(__name__)

#: The packages of this project.
PACKAGES = ("schemas", "serve_app", "workers")
_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
#: The environment variable that makes each line a JSON object: "json".
FORMAT_VARIABLE = "CHORUS_LOG_FORMAT"


class JsonFormatter(logging.Formatter):
    """A line as a JSON object, with the trace that it belongs to, if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": at, "level": record.levelname, "logger": record.name}
        line["message"] = record.getMessage()
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            line["trace_id"] = trace.format_trace_id(context.trace_id)
            line["span_id"] = trace.format_span_id(context.span_id)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def formatter() -> logging.Formatter:
    """How the processes of a command write a line of their logs."""
    return JsonFormatter() if _json() else logging.Formatter(_TEXT)


def log_to_stderr() -> None:
    """Write this process' logs to standard error, unless somebody has set them up."""
    handler = logging.StreamHandler()
    handler.setFormatter(formatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def serve_logging(level: str) -> dict[str, Any]:
    """How the replicas and the controller of Serve write theirs, as its `logging_config`.

    Args:
        level: "INFO", "WARNING"...
    """
    json = {"encoding": "JSON"} if _json() else {}
    return {"log_level": level, "enable_access_log": False} | json


def _json() -> bool:
    return os.environ.get(FORMAT_VARIABLE, "").lower() == "json"


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
