"""Wait until a Serve application is ready, or it is known why it never will be."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from serve_app.system.tracebacks import message_of

#: Seconds between two looks.
POLL_S = 0.25


class StartError(RuntimeError):
    """Ray or an application did not start; the message says which and why."""


def wait_until_running(
    app: str,
    timeout_s: float,
    on_progress: Callable[[str, str], None] = lambda deployment, status: None,
    optional: Collection[str] = (),
) -> dict[str, str]:
    """Wait until every deployment of a Serve application is ready.

    Args:
        app: name of the application.
        timeout_s: longest wait.
        on_progress: called with a deployment's name and its status whenever the status changes.
        optional: names of deployments that the others go on without, where they fail.

    Returns:
        Why those of `optional` that are missing failed, by name.

    Raises:
        StartError: a deployment failed, or one was not ready in time.
    """
    from serve_app.system.ray_adapter import serve

    deadline = time.monotonic() + timeout_s
    seen: dict[str, str] = {}
    while True:
        status = serve.status().applications.get(app)
        deployments = status.deployments if status is not None else {}
        for name, deployment in deployments.items():
            if seen.get(name) != deployment.status.value:
                seen[name] = deployment.status.value
                on_progress(name, seen[name])
        if status is not None and status.status.value == "RUNNING":
            return {}
        late = time.monotonic() > deadline
        waiting = {name for name, value in seen.items() if value != "HEALTHY"}
        failed = _failed(status) if status is not None else {}
        if waiting and waiting <= set(optional) and (late or waiting <= set(failed)):
            return {name: failed.get(name, f"not ready within {timeout_s:g} s") for name in waiting}
        if status is not None and status.status.value == "DEPLOY_FAILED":
            needed = {name: reason for name, reason in failed.items() if name not in optional}
            if needed or not failed:
                raise StartError(lines_of(needed) or status.message)
        if late:
            names = ", ".join(n for n in seen if n in waiting) or app
            raise StartError(f"not ready within {timeout_s:g} s: {names}")
        time.sleep(POLL_S)


def _failed(status: Any) -> dict[str, str]:
    """The whole message of the exception of each failed deployment of an application."""
    return {
        name: message_of(deployment.message)
        for name, deployment in status.deployments.items()
        if deployment.status.value in ("DEPLOY_FAILED", "UNHEALTHY") and deployment.message.strip()
    }


def lines_of(reasons: Mapping[str, str]) -> str:
    """Names and reasons, a line each."""
    return "\n".join(f"{name}: {reason}" for name, reason in reasons.items())
