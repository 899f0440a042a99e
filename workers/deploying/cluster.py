"""A running Ray cluster, by the REST API of its dashboard."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from serve_app.cluster.readiness import StartError, lines_of
from serve_app.system.ray_adapter import serve_client
from serve_app.system.tracebacks import message_of

_POLL_S = 1.0


class Cluster:
    """Serve on a running cluster.

    Args:
        address: of Ray's dashboard, ``http://HOST:8265``.

    Raises:
        ConnectionError: nobody answers there, or it is not Ray's dashboard.
        PermissionError: it wants another token.
        ValueError: the address is no URL.
    """

    def __init__(self, address: str) -> None:
        self._client = serve_client(address)

    def details(self) -> dict[str, Any]:
        """What Serve says of its applications, as its REST API has it.

        Raises:
            RuntimeError: Ray refuses; the message says why.
        """
        return dict(self._client.get_serve_details())

    def deploy(self, config: Mapping[str, Any]) -> None:
        """Have Serve bring about a config; does not wait for it.

        Raises:
            RuntimeError: Ray refuses; the message says why.
        """
        self._client.deploy_applications(dict(config))

    def wait(
        self,
        apps: Collection[str],
        timeout_s: float,
        on_progress: Callable[[str, str], None],
        optional: Collection[str] = (),
    ) -> dict[str, str]:
        """Wait until applications run.

        Args:
            apps: their names.
            timeout_s: longest wait.
            on_progress: called with an application's name and its state whenever that changes.
            optional: those that may fail.

        Returns:
            Why those of `optional` that failed did, by name.

        Raises:
            StartError: another one failed, or is not ready in time.
        """
        deadline = time.monotonic() + timeout_s
        seen: dict[str, str] = {}
        while True:
            there = self.details()["applications"]
            for name in apps:
                state = there[name]["status"] if name in there else ""
                if state and seen.get(name) != state:
                    seen[name] = state
                    on_progress(name, state)
            failed = {
                name: _reason(there[name])
                for name, state in seen.items()
                if state == "DEPLOY_FAILED"
            }
            needed = {name: reason for name, reason in failed.items() if name not in optional}
            if needed:
                raise StartError(lines_of(needed))
            waiting = [name for name in apps if seen.get(name) != "RUNNING" and name not in failed]
            if not waiting:
                return failed
            if time.monotonic() > deadline:
                raise StartError(f"not ready within {timeout_s:g} s: {', '.join(waiting)}")
            time.sleep(_POLL_S)


def _reason(application: Mapping[str, Any]) -> str:
    said = [each["message"] for each in application["deployments"].values() if each["message"]]
    return message_of(said[0] if said else application["message"])
