"""Where the files for Prometheus and Grafana are."""

from pathlib import Path

FOLDER = Path(__file__).parent
#: Recording rules and alerts.
RULES = FOLDER / "alerts.yaml"
#: The dashboards as Grafana reads them, `{uid}.json`.
DASHBOARDS = FOLDER / "dashboards"
