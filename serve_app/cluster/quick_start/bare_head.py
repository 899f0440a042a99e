"""A Ray head node with few processes, for a cluster that ends with the process that started it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from serve_app.cluster.closed_head import ClosedHead

#: What the raylet runs to start a worker.
_LAUNCHER = Path(__file__).with_name("launcher.py")


class BareHead(ClosedHead):
    """A head node without dashboard, autoscaler and log tailer, whose workers `launcher` starts.

    No setting of Ray disables all of these. Each is a Python process; together they cost more CPU
    than the rest of the start (6 of 11 seconds).

    Args:
        ray_params: Ray's parameters of the node.
        options: of `Node`.
    """

    def __init__(self, ray_params: Any, **options: Any) -> None:
        ray_params.update_if_absent(setup_worker_path=str(_LAUNCHER))
        super().__init__(ray_params, **options)

    def start_log_monitor(self) -> None:
        """Do not start the log tailer."""
