"""How the lines of logs are written: as text, or as JSON."""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime
from typing import Any

import msgspec
from opentelemetry import trace

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
