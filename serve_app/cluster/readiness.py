"""Wait until Serve applications are ready, or it is known why they never will be."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping

from serve_app.system.app_status import AppStatus
from serve_app.system.tracebacks import message_of

#: Seconds between two looks.
POLL_S = 0.25


class StartError(RuntimeError):
    """Ray or an application did not start; the message says which and why."""


def wait_until_running(
    apps: Collection[str],
    timeout_s: float,
    on_progress: Callable[[str, str], None] = lambda deployment, status: None,
    optional: Collection[str] = (),
) -> dict[str, str]:
    """Wait until every deployment of some Serve applications is ready.

    Args:
        apps: names of the applications; no two have deployments of the same name.
        timeout_s: longest wait.
        on_progress: called with a deployment's name and its status whenever the status changes.
        optional: names of deployments that the others go on without, where they fail.

    Returns:
        Why those of `optional` that are missing failed, by name.

    Raises:
        StartError: a deployment failed, or one was not ready in time.
    """
    from serve_app.system.ray_adapter import app_statuses

    deadline = time.monotonic() + timeout_s
    seen: dict[str, str] = {}
    while True:
        found = app_statuses()
        statuses = [found[app] for app in apps if app in found]
        for name, state in _states(statuses).items():
            if seen.get(name) != state:
                seen[name] = state
                on_progress(name, state)
        there = len(statuses) == len(apps) and all(status.deployments for status in statuses)
        if there and all(status.state == "RUNNING" for status in statuses):
            return {}
        late = time.monotonic() > deadline
        waiting = {name for name, value in seen.items() if value != "HEALTHY"}
        failed = _failed(statuses)
        given_up = waiting <= set(optional) and (late or waiting <= set(failed))
        if there and waiting and given_up:
            return {name: failed.get(name, f"not ready within {timeout_s:g} s") for name in waiting}
        ended = [status for status in statuses if status.state == "DEPLOY_FAILED"]
        needed = {name: reason for name, reason in failed.items() if name not in optional}
        if ended and (needed or not failed):
            raise StartError(lines_of(needed) or ended[0].message)
        if late:
            names = ", ".join(n for n in seen if n in waiting) or ", ".join(apps)
            raise StartError(f"not ready within {timeout_s:g} s: {names}")
        time.sleep(POLL_S)


def _states(statuses: Collection[AppStatus]) -> dict[str, str]:
    return {
        name: deployment.state
        for status in statuses
        for name, deployment in status.deployments.items()
    }


def _failed(statuses: Collection[AppStatus]) -> dict[str, str]:
    """The whole message of the exception of each failed deployment of some applications."""
    return {
        name: message_of(deployment.message)
        for status in statuses
        for name, deployment in status.deployments.items()
        if deployment.failing and deployment.message.strip()
    }


def lines_of(reasons: Mapping[str, str]) -> str:
    """Names and reasons, a line each."""
    return "\n".join(f"{name}: {reason}" for name, reason in reasons.items())
