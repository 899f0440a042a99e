"""All dashboards, and what none of them shows."""

from __future__ import annotations

from deploy.observability import models, overview, quality, stream
from serve_app.telemetry.definitions import Metric

DASHBOARDS = (overview.DASHBOARD, models.DASHBOARD, stream.DASHBOARD, quality.DASHBOARD)

#: Metrics that are on no panel, and why.
NOT_SHOWN: dict[Metric, str] = {}
