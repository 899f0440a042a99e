"""A Ray head node without the processes that answer requests without the token."""

from __future__ import annotations

from typing import Any

from serve_app.system.ray_adapter import Node


class ClosedHead(Node):
    """A head node all of whose ports require the token.

    Ray 2.60 starts its API server even without a dashboard, and its autoscaler even if there is
    nothing to scale; both answer ``/metrics`` to anyone who can reach the machine.
    """

    def start_api_server(self, **options: Any) -> None:
        """Do not start the API server."""

    def start_monitor(self) -> None:
        """Do not start the autoscaler."""
