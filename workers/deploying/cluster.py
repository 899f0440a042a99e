"""A running Ray cluster, by the REST API of its dashboard."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
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
            ConnectionError: it does not answer.
            RuntimeError: Ray refuses; the message says why.
        """
        with _answering():
            return dict(self._client.get_serve_details())

    def deploy(self, config: Mapping[str, Any]) -> None:
        """Have Serve bring about a config; does not wait for it.

        Raises:
            ConnectionError: it does not answer.
            RuntimeError: Ray refuses; the message says why.
        """
        with _answering():
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
            there = self._applications()
            for name in apps:
                state = there[name]["status"] if name in there else ""
                if state and seen.get(name) != state:
                    seen[name] = state
                    on_progress(name, state)
            failed = {
                name: _reason(there[name])
                for name, state in seen.items()
                if state == "DEPLOY_FAILED" and name in there
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

    def _applications(self) -> Mapping[str, Any]:
        """The applications; none while the head of the cluster is on its way up again."""
        try:
            found: Mapping[str, Any] = self.details()["applications"]
        except ConnectionError:
            return {}
        return found


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except OSError as error:  # as those of `requests` are
        reason = f"Ray's dashboard does not answer ({type(error).__name__})"
        raise ConnectionError(reason) from None


def _reason(application: Mapping[str, Any]) -> str:
    said = [each["message"] for each in application["deployments"].values() if each["message"]]
    return message_of(said[0] if said else application["message"])
