"""Dashboards for Grafana, alerts and examples for Prometheus, by the metrics' definitions."""
