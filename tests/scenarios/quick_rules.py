"""The rules with shorter times, so that an alert fires within a scenario.

What takes an hour there takes a minute here: durations, windows, and the thresholds that are
seconds. Everything else is as in the file.
"""

from __future__ import annotations

import re
from pathlib import Path

from deploy.observability.files import RULES

#: By how much times are divided.
DIVISOR = 60
_UNITS = {"m": 60, "h": 3600, "d": 86400}
#: A duration in a query or a rule: `[10m]`, `offset 1h`, `for: 5m`.
_DURATION = re.compile(r"(?<=[\[ ])(\d+)([mhd])(?=[\]\s,})])")
#: A threshold in seconds, by what is compared.
_THRESHOLD = re.compile(
    r"((?:catch_up:seconds|queue_p95:rate10m|latency_seconds_bucket\[10s\]\)\)\)|"
    r"heartbeat_age_seconds) > )(\d+)"
)


def quick_rules(file: Path) -> Path:
    """Write the rules with shorter times into a file, and return it."""
    text = _DURATION.sub(_divided, RULES.read_text())
    text = _THRESHOLD.sub(lambda found: f"{found[1]}{int(found[2]) / DIVISOR:g}", text)
    file.write_text(text)
    return file


def _divided(found: re.Match[str]) -> str:
    return f"{int(found[1]) * _UNITS[found[2]] // DIVISOR}s"
